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
  /** null when there is none. */
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
    if (typeof path !== "string") {
      const why = ["replace", "test", "move"].includes(op) ? "operation missing path field: " : "";
      throw unprocessablePatch(`${op} operation failed to decode path: ${why}missing value`);
    }
    return {
      op,
      path,
      from: typeof from === "string" ? from : undefined,
      value: getKey(operation, "value") ?? null,
    };
  });
}

type Container = unknown[] | Record<string, unknown>;

const isContainer = (value: unknown): value is Container => Array.isArray(value) || isRecord(value);

/** Why a key does not fit a container, in the words of the library that kube-apiserver uses. */
class KeyError extends Error {}

function indexOf(key: string): number {
  if (!/^[+-]?\d+$/.test(key)) throw new KeyError(`strconv.Atoi: parsing ${JSON.stringify(key)}: invalid syntax`);
  return Number(key);
}

/** A place in a list of that length; negative ones count from behind, as kube-apiserver allows. */
function placeOf(index: number, length: number): number {
  if (index >= length || index < -length) {
    throw new KeyError(`Unable to access invalid index: ${index}: invalid index referenced`);
  }
  return index < 0 ? index + length : index;
}

/** The value of a key; undefined where an object does not have it. Throws KeyError. */
function read(container: Container, key: string): unknown {
  if (!Array.isArray(container)) return getKey(container, key);
  return container[placeOf(indexOf(key), container.length)];
}

function add(container: Container, key: string, value: unknown): void {
  if (!Array.isArray(container)) {
    setKey(container, key, value);
  } else if (key === "-") {
    container.push(value);
  } else {
    let index: number;
    try {
      index = indexOf(key);
    } catch (error) {
      throw new KeyError(`value was not a proper array index: '${key}': ${(error as Error).message}`);
    }
    container.splice(placeOf(index, container.length + 1), 0, value);
  }
}

function remove(container: Container, key: string): void {
  if (Array.isArray(container)) {
    container.splice(placeOf(indexOf(key), container.length), 1);
    return;
  }
  if (!Object.hasOwn(container, key)) throw new KeyError(`Unable to remove nonexistent key: ${key}: missing value`);
  delete container[key];
}

/** Does something with a key; what does not fit is told after `what`. */
function attempt<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof KeyError) throw unprocessablePatch(`${what}: ${error.message}`);
    throw error;
  }
}

interface Place {
  readonly container: Container;
  readonly key: string;
}

/** The document and the changes on it. Source: evanphx/json-patch v4, whose rules are not all the RFC's. */
class Patched {
  root: unknown;
  #copiedBytes = 0;

  constructor(root: unknown) {
    this.root = root;
  }

  /** The container of what a pointer names, which has to be there. Throws that it is missing, `as` an operation says it. */
  #place(pointer: string, as: string): Place {
    const [, ...parts] = pointer.split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const key = parts.pop();
    let container: unknown = this.root;
    for (const part of parts) {
      try {
        container = isContainer(container) ? read(container, part) : undefined;
      } catch (error) {
        if (!(error instanceof KeyError)) throw error;
        container = undefined;
      }
    }
    if (key === undefined || !isContainer(container)) {
      throw unprocessablePatch(`${as}: missing value`);
    }
    return { container, key };
  }

  add(path: string, value: unknown): void {
    const { container, key } = this.#place(path, `add operation does not apply: doc is missing path: "${path}"`);
    attempt(`error in add for path: '${path}'`, () => add(container, key, value));
  }

  remove(path: string): void {
    const { container, key } = this.#place(path, `remove operation does not apply: doc is missing path: "${path}"`);
    attempt(`error in remove for path: '${path}'`, () => remove(container, key));
  }

  replace(path: string, value: unknown): void {
    if (path === "") {
      this.root = value;
      return;
    }
    const { container, key } = this.#place(path, `replace operation does not apply: doc is missing path: ${path}`);
    if (!Array.isArray(container)) {
      // Against the RFC, what is not there is added.
      setKey(container, key, value);
      return;
    }
    try {
      container[placeOf(indexOf(key), container.length)] = value;
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      throw unprocessablePatch(`replace operation does not apply: doc is missing key: ${path}: missing value`);
    }
  }

  test(path: string, value: unknown): void {
    let found = this.root;
    if (path !== "") {
      const { container, key } = this.#place(path, `test operation does not apply: is missing path: ${path}`);
      // A test for null holds where nothing is.
      found = attempt(`error in test for path: '${path}'`, () => read(container, key)) ?? null;
    }
    if (!isDeepStrictEqual(found, value)) throw unprocessablePatch(`testing value ${path} failed: test failed`);
  }

  move(from: string, path: string): void {
    const source = this.#place(from, `move operation does not apply: doc is missing from path: ${from}`);
    const moved = attempt(`error in move for path: '${source.key}'`, () => {
      const value = read(source.container, source.key);
      remove(source.container, source.key);
      return value;
    });
    const target = this.#place(path, `move operation does not apply: doc is missing destination path: ${path}`);
    attempt(`error in move for path: '${path}'`, () => add(target.container, target.key, moved));
  }

  copy(from: string, path: string): void {
    const source = this.#place(from, `copy operation does not apply: doc is missing from path: ${from}`);
    const found = attempt(`error in copy for from: '${from}'`, () => read(source.container, source.key)) ?? null;
    const target = this.#place(path, `copy operation does not apply: doc is missing destination path: ${path}`);
    this.#copiedBytes += stringifyJson(found).length;
    if (this.#copiedBytes > maxCopiedBytes) {
      throw requestEntityTooLarge(
        `Unable to complete the copy, the accumulated size increase of copy is ${this.#copiedBytes}, exceeding the limit ${maxCopiedBytes}`,
      );
    }
    attempt("error while adding value during copy", () => add(target.container, target.key, cloneJson(found)));
  }
}

/** The patched document, as a new value. Throws StatusError: 400 malformed, 413 too many operations, 422 does not apply. */
export function applyJsonPatch(document: unknown, operations: unknown): unknown {
  const patched = new Patched(cloneJson(document));
  for (const { op, path, from, value } of readOperations(operations)) {
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
      case "copy":
        if (from === undefined) {
          const text = `${op} operation failed to decode from: operation, missing from field: missing value`;
          throw unprocessablePatch(text);
        }
        patched[op](from, path);
        break;
      default:
        throw unprocessablePatch(`Unexpected kind: ${op}`);
    }
  }
  return patched.root;
}
