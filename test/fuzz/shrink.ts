/** Makes a request that shows a fault smaller, as long as it still shows it. */
import type { FuzzRequest } from "./requests.ts";

type Json = Record<string, unknown>;

/** Smaller forms of a JSON value: each with one part taken out. */
function* smaller(value: unknown): Generator<unknown> {
  if (Array.isArray(value)) {
    for (const index of value.keys()) yield value.filter((_, other) => other !== index);
    for (const [index, element] of value.entries()) {
      for (const less of smaller(element)) yield value.map((other, at) => (at === index ? less : other));
    }
  } else if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value as Json);
    for (const [key] of entries) yield Object.fromEntries(entries.filter(([other]) => other !== key));
    for (const [key, element] of entries) {
      for (const less of smaller(element)) {
        yield Object.fromEntries(entries.map(([other, old]) => [other, other === key ? less : old]));
      }
    }
  } else if (typeof value === "string" && value.length > 20) yield value.slice(0, value.length / 2);
}

function* smallerRequests(request: FuzzRequest): Generator<FuzzRequest> {
  for (const index of request.query.keys()) {
    yield { ...request, query: request.query.filter((_, other) => other !== index) };
  }
  for (const name of Object.keys(request.headers)) {
    yield { ...request, headers: Object.fromEntries(Object.entries(request.headers).filter(([key]) => key !== name)) };
  }
  let value: unknown;
  try {
    value = JSON.parse(request.body?.toString() ?? "");
  } catch {
    return;
  }
  for (const less of smaller(value)) yield { ...request, body: Buffer.from(JSON.stringify(less)) };
}

/** The smallest form found within `tries` requests. `shows` says whether a form still has the fault. */
export async function shrink(
  request: FuzzRequest,
  shows: (request: FuzzRequest) => Promise<boolean>,
  tries: number,
): Promise<FuzzRequest> {
  let best = request;
  let left = tries;
  for (let found = true; found && left > 0; ) {
    found = false;
    for (const candidate of smallerRequests(best)) {
      if (left-- <= 0) break;
      if (!(await shows(candidate))) continue;
      best = candidate;
      found = true;
      break;
    }
  }
  return best;
}
