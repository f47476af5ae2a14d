// One round of one operation, by autocannon.  Reads a task from standard input, prints what was measured.
//
// {"url", "operation", "connections", "seconds", "tokens": [{"access", "refresh"}, …], "run", "rate"}
import autocannon from "autocannon";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const task = JSON.parse(Buffer.concat(chunks));
const json = { "content-type": "application/json" };
let number = 0;
let next = 0;

const bearer = (token) => ({ authorization: `Bearer ${token}` });
const made = () => JSON.stringify({ name: `Made ${task.run} ${number++}`, price: "19.90" });
const operations = {
  bare: { method: "GET", path: "/" },
  me: { method: "GET", path: "/api/v1/users/me", headers: bearer(task.tokens[0]?.access) },
  list: { method: "GET", path: "/api/v1/items?limit=20", headers: bearer(task.tokens[0]?.access) },
  create: {
    method: "POST",
    path: "/api/v1/items",
    headers: { ...json, ...bearer(task.tokens[0]?.access) },
    setupRequest: (request) => ({ ...request, body: made() }),
  },
  login: {
    method: "POST",
    path: "/api/v1/auth/login",
    headers: json,
    setupClient: (client) => {
      const { username, password } = task.tokens[next++];
      client.setBody(JSON.stringify({ username, password }));
    },
  },
  // Each connection is a client of its own, which exchanges what it was given last.
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

// One user after another renews the tokens, reads eight times and creates one item, which only a fresh login may: the
// item is made with the token of the login.
const as = (kind) => (request, context) => ({
  ...request,
  headers: { ...request.headers, ...bearer(context.user[kind]) },
});
const read = (path) => ({ method: "GET", path, setupRequest: as("access") });
const mix = [
  {
    method: "POST",
    path: "/api/v1/auth/refresh",
    setupRequest: (request, context) => {
      context.user = task.tokens[next++ % task.tokens.length];
      return as("refresh")(request, context);
    },
    onResponse: (status, body, context) => {
      if (status !== 200) return;
      const { access_token, refresh_token } = JSON.parse(body);
      Object.assign(context.user, { access: access_token, refresh: refresh_token });
    },
  },
  ...["/api/v1/users/me", "/api/v1/items?limit=20", "/api/v1/items/1", "/api/v1/users/me"].map(read),
  {
    method: "POST",
    path: "/api/v1/items",
    headers: json,
    setupRequest: (request, context) => ({ ...as("fresh")(request, context), body: made() }),
  },
  ...["/api/v1/items?sort=-id", "/api/v1/users/me", "/api/v1/items?owner=me", "/api/v1/items/2"].map(read),
];
const { setupClient, ...request } = operations[task.operation] ?? {};
const result = await autocannon({
  url: task.url,
  connections: task.connections,
  duration: task.seconds,
  overallRate: task.rate,
  setupClient,
  requests: task.operation === "mix" ? mix : [request],
});
console.log(
  JSON.stringify({
    good: result["2xx"],
    bad: result.non2xx + result.errors + result.timeouts,
    unanswered: result.errors + result.timeouts,
    seconds: result.duration,
    p50_ms: result.latency.p50,
    p99_ms: result.latency.p99,
    max_ms: result.latency.max,
    statuses: result.statusCodeStats,
  }),
);
