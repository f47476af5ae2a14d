// Assertions about responses.

import assert from "node:assert/strict";

interface Failure {
  error: string;
  message: string;
  status: number;
  request_id: string;
}

/** Assert that the request succeeded, and return the data. */
export function ok<D>(answer: { data?: D; error?: unknown; response: Response }): D {
  assert.ok(answer.response.ok, `${answer.response.status} ${JSON.stringify(answer.error)}`);
  assert.ok(answer.data !== undefined);
  return answer.data;
}

/** Assert that the request failed with this code, and return the error.  The document has the code for the operation. */
export function refused<E extends Failure, C extends E["error"]>(
  answer: { error?: E; response: Response },
  code: C,
): E & { error: C } {
  assert.ok(answer.error, `${answer.response.status}: not refused`);
  assert.equal(answer.error.error, code);
  assert.equal(answer.error.status, answer.response.status);
  assert.equal(answer.error.request_id, answer.response.headers.get("X-Request-ID"));
  return answer.error as E & { error: C };
}
