// A `fetch` that sends the access token, and renews it once when it has expired.

import type { components } from "./api.js";

type Answer = components["schemas"]["Tokens"];
type Code = components["schemas"]["Error"]["error"];

export interface Tokens {
  access: string;
  refresh: string | undefined; // a fresh login without a session has none
}

export interface Options {
  /** Stores the tokens.  The default is a variable. */
  store?: { get(): Tokens | null; set(tokens: Tokens | null): void };
  /** Runs one refresh at a time.  If tabs share the store, use a lock that they share too. */
  alone?: (work: () => Promise<Response | null>) => Promise<Response | null>;
  /** Called with the error code when the session ends.  Ask the user to log in. */
  onEnd?: (code: Code) => void;
}

export function createSession(baseUrl: string, options: Options = {}) {
  const { store = inMemory(), alone = (work) => work(), onEnd = () => {} } = options;
  let renewal: Promise<Response | null> | null = null;

  /** Store the tokens of a registration, a login, a fresh login or a password change. */
  function keep(answer: Answer): void {
    if (!answer.access_token) throw new Error("The tokens of this answer are in cookies.");
    store.set({ access: answer.access_token, refresh: answer.refresh_token ?? store.get()?.refresh });
  }

  /** Get new tokens.  Returns null, or the response that refused them.  Parallel calls share one refresh. */
  async function renew(): Promise<Response | null> {
    const old = store.get();
    if (!old?.refresh) throw new Error("There is no refresh token.");
    renewal ??= alone(() => exchange(old)).finally(() => (renewal = null));
    return renewal;
  }

  async function exchange(old: Tokens): Promise<Response | null> {
    if (store.get()?.refresh !== old.refresh) return null; // another tab was faster
    const headers = { Authorization: `Bearer ${old.refresh}` };
    const answer = await fetch(`${baseUrl}/api/v1/auth/refresh`, { method: "POST", headers });
    const renewed = answer.ok ? ((await answer.json()) as Answer) : null;
    const code = answer.status === 401 ? await codeOf(answer) : null;
    const now = store.get();
    if (!now || now.refresh !== old.refresh) return null; // logged out or in meanwhile
    if (renewed) {
      const fresh = now.access !== old.access; // after a fresh login meanwhile, keep its token
      keep(fresh ? { ...renewed, access_token: now.access } : renewed);
    }
    if (code) {
      store.set(null);
      onEnd(code);
    }
    return answer.ok ? null : answer;
  }

  async function fetchWithToken(request: Request): Promise<Response> {
    if (request.headers.has("Authorization")) return fetch(request); // the request has a token of its own
    const again = request.clone(); // a body can be sent once
    const sent = store.get();
    const answer = await send(request, sent);
    if (!sent?.refresh || answer.status !== 401 || (await codeOf(answer)) !== "token_expired") return answer;
    // Another request may have renewed the token already.
    const refusal = store.get()?.access === sent.access ? await renew() : null;
    if (refusal) return refusal.status === 401 ? answer : refusal.clone();
    return send(again, store.get());
  }

  return { fetch: fetchWithToken, keep, renew, forget: () => store.set(null) };
}

function send(request: Request, tokens: Tokens | null): Promise<Response> {
  if (tokens) request.headers.set("Authorization", `Bearer ${tokens.access}`);
  return fetch(request);
}

async function codeOf(answer: Response): Promise<Code> {
  return ((await answer.clone().json()) as components["schemas"]["Error"]).error;
}

function inMemory(): NonNullable<Options["store"]> {
  let stored: Tokens | null = null;
  return { get: () => stored, set: (tokens) => void (stored = tokens) };
}
