// Calls that are wrong, and do not compile: behind each `@ts-expect-error` stands the error of the compiler.
// Nothing of this is run.

import createClient from "openapi-fetch";

import { refused } from "./answers.js";
import type { components, paths } from "./api.js";

type NewItem = components["schemas"]["NewItem"];

const api = createClient<paths>();
const item = { name: "Lamp", price: "19.90" };
const path = { item_id: 7 };

export async function wrong(): Promise<void> {
  // @ts-expect-error TS2554 there is no such path
  await api.GET("/api/v1/item");

  // @ts-expect-error TS2345 the path does not take this method
  await api.PUT("/api/v1/items", { body: item });

  // @ts-expect-error TS2554 a body is missing
  await api.POST("/api/v1/items");

  // @ts-expect-error TS2322 a field of the body is missing
  await api.POST("/api/v1/items", { body: { name: "Lamp" } });

  // @ts-expect-error TS2353 there is no such field
  await api.POST("/api/v1/items", { body: { name: "Lamp", price: "19.90", colour: "red" } satisfies NewItem });

  // @ts-expect-error TS2322 a price is text
  await api.POST("/api/v1/items", { body: { name: "Lamp", price: 19.9 } });

  // @ts-expect-error TS2322 a name is no null
  await api.PATCH("/api/v1/items/{item_id}", { params: { path }, body: { name: null } });

  // @ts-expect-error TS2345 the id of the path is missing
  await api.GET("/api/v1/items/{item_id}", {});

  // @ts-expect-error TS2322 the id of an item is a number
  await api.GET("/api/v1/items/{item_id}", { params: { path: { item_id: "7" } } });

  // @ts-expect-error TS2322 there is no such order
  await api.GET("/api/v1/items", { params: { query: { sort: "colour" } } });

  // @ts-expect-error TS2353 there is no such parameter
  await api.GET("/api/v1/items", { params: { query: { page: 2 } } });

  // @ts-expect-error TS2353 there is no such header
  await api.PATCH("/api/v1/items/{item_id}", { params: { path, header: { "If-Mach": "*" } }, body: item });

  // @ts-expect-error TS2345 a login is never refused like this
  refused(await api.POST("/api/v1/auth/login", { body: { username: "grace", password: "…" } }), "token_reused");

  const { data, error } = await api.GET("/api/v1/items");

  // @ts-expect-error TS18048 where there is an error there is no page
  data.items;

  // @ts-expect-error TS2367 a listing answers no such error
  if (error?.error === "item_exists") return;

  // @ts-expect-error TS18048 an answer that is no 422 has none
  if (error) error.errors["query"];

  // @ts-expect-error TS2339 a stranger's page has names alone
  data?.items.map((one) => one.price);
}

export function renamed(user: components["schemas"]["User"]): string {
  // @ts-expect-error TS2339 there is no such field
  return user.name;
}
