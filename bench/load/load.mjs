// Run one round of one operation with autocannon.  Reads a task from standard input and prints the results.
//
// {"url", "operation", "connections", "seconds", "tokens": [{"access", "refresh"}, …], "run"}
import autocannon from "autocannon";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const task = JSON.parse(Buffer.concat(chunks));
const json = { "content-type": "application/json" };
let number = 0;
let next = 0;

const bearer = (token) => ({ authorization: `Bearer ${token}` });
const operations = {
  bare: { method: "GET", path: "/" },
  me: { method: "GET", path: "/api/v1/users/me", headers: bearer(task.tokens[0]?.access) },
  list: { method: "GET", path: "/api/v1/items?limit=20", headers: bearer(task.tokens[0]?.access) },
  create: {
    method: "POST",
    path: "/api/v1/items",
    headers: { ...json, ...bearer(task.tokens[0]?.access) },
    setupRequest: (request) => ({
      ...request,
      body: JSON.stringify({ name: `Made ${task.run} ${number++}`, price: "19.90" }),
    }),
  },
  // Each connection is another network, because one network gets a quarter of the queue.
  login: {
    method: "POST",
    path: "/api/v1/auth/login",
    setupClient: (client) => {
      const { username, password } = task.tokens[next++];
      const headers = { ...json, "x-forwarded-for": `192.0.2.${next}` };
      client.setHeadersAndBody(headers, JSON.stringify({ username, password }));
    },
  },
  // Each connection is a separate client, which refreshes with its latest token.
  refresh: {
    method: "POST",
    path: "/api/v1/auth/refresh",
    setupClient: (client) => {
      client.setHeaders(bearer(task.tokens[next++].refresh));
      client.on("body", (body) => {
        const { refresh_token } = JSON.parse(body);
        if (refresh_token) client.setHeaders(bearer(refresh_token));
      });
    },
  },
};

const { setupClient, ...request } = operations[task.operation];
const result = await autocannon({
  url: task.url,
  connections: task.connections,
  duration: task.seconds,
  setupClient,
  requests: [request],
});
console.log(
  JSON.stringify({
    good: result["2xx"],
    bad: result.non2xx + result.errors + result.timeouts,
    seconds: result.duration,
    p50_ms: result.latency.p50,
    p99_ms: result.latency.p99,
    statuses: result.statusCodeStats,
  }),
);
