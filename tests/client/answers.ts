// What the programs here expect of an answer.

import assert from "node:assert/strict";

interface Failure {
  error: string;
  message: string;
  status: number;
  request_id: string;
}

/** The data of an answer that must be a success. */
export function ok<D>(answer: { data?: D; error?: unknown; response: Response }): D {
  assert.ok(answer.response.ok, `${answer.response.status} ${JSON.stringify(answer.error)}`);
  assert.ok(answer.data !== undefined);
  return answer.data;
}

/** The error of an answer that must be refused, with a code that the document has for this operation. */
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
