// A `fetch` for tokens in cookies.  It sends the CSRF value, and renews the access token when it has expired.

const REFRESH = "/api/v1/auth/refresh";
const BY_REFRESH_TOKEN = [REFRESH, "/api/v1/auth/logout/refresh"];
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

export function createCookieFetch(baseUrl: string, cookies = () => document.cookie) {
  let renewal: Promise<Response> | null = null;
  let dead = ""; // the CSRF value of a refresh token that was refused

  const cookie = (name: string) => cookies().match(`(?:^|; )${name}=([^;]*)`)?.[1] ?? "";

  function send(request: Request): Promise<Response> {
    const kind = BY_REFRESH_TOKEN.includes(new URL(request.url).pathname) ? "refresh" : "access";
    const csrf = cookie(`csrf_${kind}_token`);
    if (csrf && !SAFE_METHODS.includes(request.method)) request.headers.set("X-CSRF-TOKEN", csrf);
    return fetch(new Request(request, { credentials: "include" }));
  }

  /** Get new tokens.  Parallel calls share one refresh. */
  function renew(): Promise<Response> {
    const used = cookie("csrf_refresh_token");
    renewal ??= send(new Request(baseUrl + REFRESH, { method: "POST" }))
      .then((answer) => {
        if (answer.status === 401) dead = used;
        return answer;
      })
      .finally(() => (renewal = null));
    return renewal;
  }

  /** Whether the browser has dropped the expired access token, and its CSRF cookie with it. */
  function hasExpired(): boolean {
    const refresh = cookie("csrf_refresh_token");
    return !cookie("csrf_access_token") && refresh !== "" && refresh !== dead;
  }

  async function fetchWithCookies(request: Request): Promise<Response> {
    if (!BY_REFRESH_TOKEN.includes(new URL(request.url).pathname) && hasExpired()) {
      const answer = await renew();
      if (answer.status >= 500) return answer.clone();
    }
    return send(request);
  }

  return { fetch: fetchWithCookies, renew };
}
