/** JSON Patch (RFC 6902) with the errors of kube-apiserver: 400 for a malformed patch, 422 for one that does not apply. */
import { isDeepStrictEqual } from "node:util";
import { cloneJson, getKey, isRecord, setKey, stringifyJson } from "./json.ts";
import { badRequest, requestEntityTooLarge, StatusError } from "./status.ts";

/** Kubernetes' limit; more would let one request hold the server. */
const maxOperations = 10_000;

/** What all copies of a patch may add, in bytes: a few operations that each double the document would fill the memory. */
const maxCopiedBytes = 3 * 1024 * 1024;

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from: string | undefined;
  readonly hasValue: boolean;
  readonly value: unknown;
}

/** The 422 of a patch that fits the format but not the object. */
export function unprocessablePatch(detail: string): StatusError {
  // Kubernetes' text, which says no more; kubectl prints the message only where there are no causes.
  return new StatusError(422, "Invalid", `the server rejected our request due to an error in our request: ${detail}`);
}

function readOperations(operations: unknown): Operation[] {
  if (!Array.isArray(operations)) {
    throw badRequest("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  }
  if (operations.length > maxOperations) {
    throw requestEntityTooLarge(
      `The allowed maximum operations in a JSON patch is ${maxOperations}, got ${operations.length}`,
    );
  }
  return operations.map((operation) => {
    if (!isRecord(operation)) throw badRequest("error decoding patch: an operation must be an object");
    const op = getKey(operation, "op");
    const path = getKey(operation, "path");
    const from = getKey(operation, "from");
    if (typeof op !== "string") throw unprocessablePatch("Unexpected kind: unknown");
    if (typeof path !== "string") throw unprocessablePatch(`${op} operation: missing path`);
    return {
      op,
      path,
      from: typeof from === "string" ? from : undefined,
      hasValue: Object.hasOwn(operation, "value"),
      value: getKey(operation, "value"),
    };
  });
}

function parsePointer(pointer: string): string[] {
  if (pointer === "") return [];
  if (!pointer.startsWith("/")) throw unprocessablePatch(`path ${JSON.stringify(pointer)} must start with "/"`);
  return pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** An index into a list; negative ones count from behind, as kube-apiserver allows. */
function indexOf(part: string, length: number, pointer: string): number {
  if (!/^-?\d+$/.test(part)) throw unprocessablePatch(`Unable to access invalid index in ${JSON.stringify(pointer)}`);
  const index = Number(part);
  const actual = index < 0 ? length + index : index;
  if (actual < 0 || actual > length) {
    throw unprocessablePatch(`Unable to access invalid index: ${part}: invalid index referenced`);
  }
  return actual;
}

/** The document and the changes on it; the root itself may be replaced. */
class Patched {
  root: unknown;

  constructor(root: unknown) {
    this.root = root;
  }

  get(pointer: string, op: string): unknown {
    let value = this.root;
    for (const part of parsePointer(pointer)) {
      let next: unknown;
      if (Array.isArray(value)) next = value[indexOf(part, value.length, pointer)];
      else if (isRecord(value)) next = getKey(value, part);
      if (next === undefined) {
        throw unprocessablePatch(
          `${op} operation does not apply: doc is missing path: ${JSON.stringify(pointer)}: missing value`,
        );
      }
      value = next;
    }
    return value;
  }

  /** The container of what the pointer names, and the last part of the pointer. */
  #parent(pointer: string, op: string): { parent: unknown[] | Record<string, unknown>; last: string } {
    const slash = pointer.lastIndexOf("/");
    const parent = this.get(pointer.slice(0, slash), op);
    const last = parsePointer(pointer.slice(slash))[0]!;
    if (Array.isArray(parent) || isRecord(parent)) return { parent, last };
    throw unprocessablePatch(
      `${op} operation does not apply: doc is missing path: ${JSON.stringify(pointer)}: missing value`,
    );
  }

  add(pointer: string, value: unknown): void {
    if (pointer === "") {
      this.root = value;
      return;
    }
    const { parent, last } = this.#parent(pointer, "add");
    if (!Array.isArray(parent)) setKey(parent, last, value);
    else if (last === "-") parent.push(value);
    else parent.splice(indexOf(last, last.startsWith("-") ? parent.length + 1 : parent.length, pointer), 0, value);
  }

  remove(pointer: string, op = "remove"): void {
    if (pointer === "")
      throw unprocessablePatch(`${op} operation does not apply: the whole document cannot be removed`);
    this.get(pointer, op);
    const { parent, last } = this.#parent(pointer, op);
    if (Array.isArray(parent)) parent.splice(indexOf(last, parent.length, pointer), 1);
    else delete parent[last];
  }

  replace(pointer: string, value: unknown): void {
    if (pointer === "") {
      this.root = value;
      return;
    }
    const { parent, last } = this.#parent(pointer, "replace");
    if (!Array.isArray(parent)) {
      // As in kube-apiserver, and against the RFC: what is not there is added.
      setKey(parent, last, value);
      return;
    }
    this.get(pointer, "replace");
    parent[indexOf(last, parent.length, pointer)] = value;
  }

  test(pointer: string, value: unknown): void {
    let found: unknown;
    try {
      found = this.get(pointer, "test");
    } catch {
      // A test for null holds where nothing is.
      found = null;
    }
    if (!isDeepStrictEqual(found, value)) throw unprocessablePatch(`testing value ${pointer} failed: test failed`);
  }
}

/** The patched document, as a new value. Throws StatusError: 400 malformed, 413 too many operations, 422 does not apply. */
export function applyJsonPatch(document: unknown, operations: unknown): unknown {
  const patched = new Patched(cloneJson(document));
  let copiedBytes = 0;
  for (const { op, path, from, hasValue, value } of readOperations(operations)) {
    if (["add", "replace", "test"].includes(op) && !hasValue) {
      throw unprocessablePatch(`${op} operation ${JSON.stringify(path)} has no value`);
    }
    switch (op) {
      case "add":
        patched.add(path, cloneJson(value));
        break;
      case "remove":
        patched.remove(path);
        break;
      case "replace":
        patched.replace(path, cloneJson(value));
        break;
      case "test":
        patched.test(path, value);
        break;
      case "move":
      case "copy": {
        if (from === undefined) throw unprocessablePatch(`${op} operation ${JSON.stringify(path)} has no from`);
        if (op === "move" && path.startsWith(`${from}/`)) {
          throw unprocessablePatch(`move operation cannot move ${JSON.stringify(from)} into itself`);
        }
        const moved = cloneJson(patched.get(from, op));
        if (op === "move") patched.remove(from, "move");
        else copiedBytes += stringifyJson(moved).length;
        if (copiedBytes > maxCopiedBytes) {
          throw requestEntityTooLarge(
            `Unable to complete the copy, the accumulated size increase of copy is ${copiedBytes}, exceeding the limit ${maxCopiedBytes}`,
          );
        }
        patched.add(path, moved);
        break;
      }
      default:
        throw unprocessablePatch(`Unexpected kind: ${op}`);
    }
  }
  return patched.root;
}
