// Send a mixed load over persistent connections, and reconnect if the server closes one before it answers.
// Reads a task from standard input and prints the results.
//
// {"url", "connections", "seconds", "rate", "tokens": [{"access", "refresh", "fresh"}, …], "run"}
import http from "node:http";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const task = JSON.parse(Buffer.concat(chunks));
const end = performance.now() + task.seconds * 1000;
const statuses = {};
const times = [];
let unanswered = 0;
let number = 0;
let next = 0;

function send(agent, method, path, token, body) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    if (body) Object.assign(headers, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    const request = http.request(task.url + path, { agent, method, headers, timeout: 10_000 }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ status: response.statusCode, text: Buffer.concat(parts).toString() }));
      response.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", (error) => reject(Object.assign(error, { again: request.reusedSocket })));
    request.end(body);
  });
}

// Repeat an idempotent request on a new connection (RFC 9110 section 9.2.2).  So is a refresh, because of its grace.
async function ask(agent, method, path, token, body) {
  const began = performance.now();
  try {
    const answer = await send(agent, method, path, token, body).catch((error) => {
      if (!error.again || body) throw error;
      return send(agent, method, path, token, body);
    });
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    times.push(performance.now() - began);
    return answer;
  } catch {
    unanswered++;
    return { status: 0 };
  }
}

// One user after another refreshes, reads eight times, and creates an item with the fresh token of the login.
async function* visits(agent) {
  for (;;) {
    const user = task.tokens[next++ % task.tokens.length];
    const { status, text } = await ask(agent, "POST", "/api/v1/auth/refresh", user.refresh);
    if (status === 200) {
      const { access_token, refresh_token } = JSON.parse(text);
      Object.assign(user, { access: access_token, refresh: refresh_token });
    }
    yield;
    for (const path of ["users/me", "items?limit=20", "items/1", "users/me", "items?sort=-id", "users/me", "items?owner=me", "items/2"]) {
      await ask(agent, "GET", `/api/v1/${path}`, user.access);
      yield;
    }
    const item = { name: `Made ${task.run} ${number++}`, price: "19.90" };
    await ask(agent, "POST", "/api/v1/items", user.fresh, JSON.stringify(item));
    yield;
  }
}

async function client() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const pause = task.rate ? (task.connections / task.rate) * 1000 : 0;
  let due = performance.now() + Math.random() * pause;
  const wait = () => new Promise((resolve) => setTimeout(resolve, due - performance.now()));
  if (pause) await wait();
  for await (const _ of visits(agent)) {
    due = Math.max(due + pause, performance.now() - pause);
    if (due > performance.now()) await wait();
    if (performance.now() >= end) break;
  }
  agent.destroy();
}

await Promise.all(Array.from({ length: task.connections }, client));
times.sort((one, other) => one - other);
const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))]);
console.log(
  JSON.stringify({
    answers: times.length,
    unanswered,
    statuses,
    seconds: task.seconds,
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    max_ms: at(1),
  }),
);
