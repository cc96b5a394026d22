/** The requests of a run: the one of a number is decided by the seed, the number and the corpus alone. */

import { envelop, protobufType } from "../../src/apiserver/http/kubernetes-protobuf.ts";
import { printYaml } from "../../src/apiserver/http/yaml-text.ts";
import { encodeMessage } from "../../src/apiserver/protobuf/encode-message.ts";
import { stringifyJson } from "../../src/machinery/json.ts";
import { type Corpus, names, namespaces, seedIn, seedName, type Target } from "./corpus.ts";
import { anyValue, hostileTexts, mutated, mutatedBytes } from "./mutate.ts";
import { Random } from "./random.ts";

type Json = Record<string, unknown>;

export interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  readonly query: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly http: "1.1" | "2";
}

export function urlOf({ path, query }: Pick<FuzzRequest, "path" | "query">): string {
  const pairs = query.map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.length > 0 ? `${path}?${pairs.join("&")}` : path;
}

/** Percent-encoded, also what is no Unicode. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

const accepts = [
  "application/json",
  protobufType,
  `${protobufType},application/json`,
  "application/yaml",
  "application/json;as=Table;g=meta.k8s.io;v=v1",
  "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
  `${protobufType};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`,
  "application/json;stream=watch",
  "*/*",
  "text/html",
  "application/json;q=0",
  "application/cbor",
  ";;;,,,",
  "application/json;as=Table;g=x;v=y",
] as const;

const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

const readParameters: Readonly<Record<string, readonly string[]>> = {
  limit: ["1", "0", "-1", "x", "500", "9223372036854775808"],
  continue: ["x", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0"],
  resourceVersion: ["0", "1", "abc", "-1", "99999999999999999999", "18446744073709551615"],
  resourceVersionMatch: ["Exact", "NotOlderThan", "x"],
  labelSelector: ["app=fuzz", "app in (fuzz,x)", "!app", "a in (", "a>1", "a=b=c", "!", ",", "=", "é=1", "a b"],
  fieldSelector: ["metadata.name=fuzz-a", "metadata.namespace!=x", "nope=1", "a", "=", "\\", "metadata.name=a\\,b"],
  watch: ["true", "1", "false", "x"],
  timeoutSeconds: ["1", "0", "-1", "x", "1e3"],
  allowWatchBookmarks: ["true", "x"],
  sendInitialEvents: ["true", "false"],
  pretty: ["true", "0", "x"],
  includeObject: ["None", "Metadata", "Object", "x"],
};

const writeParameters: Readonly<Record<string, readonly string[]>> = {
  dryRun: ["All", "None", ""],
  fieldManager: ["fuzz", "other", "", "é", "a".repeat(200)],
  fieldValidation: ["Strict", "Warn", "Ignore", "x"],
  force: ["true", "false", "x"],
  pretty: ["true"],
  gracePeriodSeconds: ["0", "1", "-1", "x"],
  propagationPolicy: ["Foreground", "Background", "Orphan", "x"],
  orphanDependents: ["true", "x"],
};

function query(random: Random, from: Readonly<Record<string, readonly string[]>>): [string, string][] {
  const pairs: [string, string][] = [];
  while (random.chance(0.45)) {
    const name = random.pick(Object.keys(from));
    pairs.push([name, random.chance(0.1) ? random.pick(hostileTexts) : random.pick(from[name]!)]);
  }
  return pairs;
}

function collection({ root, namespaced, resource }: Target, random: Random): string {
  return namespaced ? `${root}/namespaces/${random.pick(namespaces)}/${resource}` : `${root}/${resource}`;
}

/** The seed under a name, as the target's collection takes it. */
function seedObject(target: Target, name: string, collection: string): Json {
  const seed = seedIn(target, /\/namespaces\/([^/]+)\//.exec(collection)?.[1] ?? "");
  seed["metadata"] = { labels: { app: "fuzz" }, ...(seed["metadata"] as Json | undefined) };
  (seed["metadata"] as Json)["name"] ??= name;
  return seed;
}

interface Body {
  readonly type: string;
  readonly bytes: Buffer;
}

/** A value in one of the encodings that bodies have. */
function encoded(value: unknown, target: Target, random: Random): Body {
  const json = () => ({ type: "application/json", bytes: Buffer.from(stringifyJson(value)) });
  const body = random.weighted<() => Body>([
    [7, json],
    [
      1,
      () => {
        const bytes = Buffer.from(printYaml(value));
        return { type: "application/yaml", bytes };
      },
    ],
    [
      2,
      () => {
        if (!target.schema) return json();
        try {
          const message = encodeMessage(target.schema, value as object);
          const { apiVersion, kind } = value as { apiVersion: string; kind: string };
          return { type: protobufType, bytes: envelop(String(apiVersion), String(kind), message) };
        } catch {
          // What protobuf cannot hold goes as JSON.
          return json();
        }
      },
    ],
  ])();
  return random.chance(0.12) ? { ...body, bytes: mutatedBytes(body.bytes, random) } : body;
}

/** "/spec/replicas" and the like: some pointer into a value. */
function pointer(value: unknown, random: Random): string {
  let path = "";
  for (let now = value; typeof now === "object" && now !== null; ) {
    const key = random.chance(0.05) ? random.pick(["-", "-1", "x", "__proto__", "0"]) : random.pick(Object.keys(now));
    if (key === undefined) break;
    path += `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (random.chance(0.3)) break;
    now = Object.hasOwn(now, key) ? (now as Json)[key] : undefined;
  }
  return path;
}

function patchBody(kind: keyof typeof patchTypes, seed: Json, random: Random): unknown {
  if (kind === "json") {
    return Array.from({ length: 1 + random.below(4) }, () => ({
      op: random.pick(["add", "remove", "replace", "move", "copy", "test", "x"]),
      path: pointer(seed, random),
      ...(random.chance(0.4) ? { from: pointer(seed, random) } : {}),
      ...(random.chance(0.8) ? { value: anyValue(random) } : {}),
    }));
  }
  const changed = mutated(seed, random);
  if (kind === "strategic" && random.chance(0.3)) {
    const spec = (changed["spec"] ?? changed) as Json;
    if (typeof spec === "object" && spec !== null) {
      const directive = random.pick([
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/a",
      ]);
      spec[directive] = random.chance(0.5) ? random.pick(["delete", "replace", "merge"]) : anyValue(random);
    }
  }
  return changed;
}

function headersOf(random: Random): Record<string, string> {
  const headers: Record<string, string> = {};
  if (random.chance(0.7))
    headers["accept"] = random.weighted([
      [9, accepts[0]],
      [5, random.pick(accepts.slice(0, 7))],
      [1, random.pick(accepts)],
    ]);
  if (random.chance(0.1)) headers["accept-encoding"] = random.pick(["gzip", "br", "gzip;q=0", "identity"]);
  if (random.chance(0.05)) headers["user-agent"] = random.pick(["curl/8", "kubectl/v1.36", "é".repeat(3), ""]);
  if (random.chance(0.02)) headers["impersonate-user"] = random.pick(["eve", "system:admin", ""]);
  if (random.chance(0.02)) headers["impersonate-group"] = "system:masters";
  if (random.chance(0.02)) headers["authorization"] = random.pick(["Bearer x", "Basic eA==", "Bearer ", "x"]);
  if (random.chance(0.02)) headers["if-none-match"] = "*";
  if (random.chance(0.02)) headers["x-fuzz"] = "a".repeat(random.pick([10, 1000, 8000]));
  for (const [name, value] of Object.entries(headers)) headers[name] = Buffer.from(value).toString("latin1");
  return headers;
}

/** A path with a segment changed, taken out or added. */
function mutatedPath(path: string, random: Random): string {
  const parts = path.split("/");
  const at = 1 + random.below(Math.max(1, parts.length - 1));
  random.weighted<() => void>([
    [3, () => parts.splice(at, 1, encode(random.pick(hostileTexts)))],
    [1, () => parts.splice(at, 1)],
    [1, () => parts.splice(at, 0, "")],
    [
      1,
      () =>
        parts.splice(
          at,
          0,
          random.pick(["%2e%2e", "..", ".", "%2F", "%00", "%", "%zz", "watch", "proxy", "namespaces"]),
        ),
    ],
    [1, () => parts.push(random.pick(["status", "scale", "log", "proxy", "token", "exec", "a/b/c", ""]))],
  ])();
  return parts.join("/") || "/";
}

/** Kinds whose stored objects change how all requests are answered: they are written only as dry runs. */
const farReaching = new Set(["admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io"]);

/** What the request must not do to the rest of the run: take away the cluster's own objects, or stop all writes. */
function tamed(request: FuzzRequest, target: Target | undefined): FuzzRequest {
  const { method, path, query: pairs } = request;
  const reads = method === "GET" || method === "HEAD" || method === "OPTIONS";
  const ownCollection = namespaces.some((namespace) => path.includes(`/namespaces/${namespace}/`));
  const ownObject = target !== undefined && path.includes(`/${seedName(target)}`);
  const wide = method === "DELETE" && !ownCollection && !ownObject;
  const isOwnNamespace =
    method === "DELETE" && namespaces.some((namespace) => path.includes(`namespaces/${namespace}`));
  const isWidgets = method === "DELETE" && path.includes("widgets.fuzz.example.com");
  const dryRunOnly = (!reads && [...farReaching].some((group) => path.includes(group))) || wide;
  if (!dryRunOnly && !(isOwnNamespace && !ownCollection) && !isWidgets) return request;
  return { ...request, query: [...pairs.filter(([name]) => name !== "dryRun"), ["dryRun", "All"]] };
}

/** The request with this number. */
export function requestOf(seed: number, number: number, corpus: Corpus): FuzzRequest {
  const random = Random.of(seed, number);
  const target = random.pick(corpus.targets);
  const name = random.chance(0.4) && target.seed ? seedName(target) : random.pick(names);
  const all = collection(target, random);
  const http = random.chance(0.5) ? "2" : "1.1";
  const headers = headersOf(random);
  const object = () =>
    random.chance(0.15) ? seedObject(target, name, all) : mutated(seedObject(target, name, all), random);
  const written = (method: string, path: string): FuzzRequest => {
    const { type, bytes } = encoded(object(), target, random);
    const contentType = random.chance(0.06)
      ? random.pick(["text/plain", "application/json;charset=x", "", "x", protobufType])
      : type;
    const pairs = query(random, writeParameters);
    return { method, path, query: pairs, headers: { ...headers, "content-type": contentType }, body: bytes, http };
  };
  const patched = (path: string): FuzzRequest => {
    const kind = random.pick(["json", "merge", "strategic", "apply"] as const);
    const bytes = Buffer.from(stringifyJson(patchBody(kind, seedObject(target, name, all), random)));
    const pairs = query(random, writeParameters);
    if (kind === "apply" && random.chance(0.9)) pairs.push(["fieldManager", random.pick(["one", "two"])]);
    return {
      method: "PATCH",
      path,
      query: pairs,
      headers: {
        ...headers,
        "content-type": patchTypes[random.chance(0.05) ? random.pick(["json", "merge"] as const) : kind],
      },
      body: random.chance(0.06) ? mutatedBytes(bytes, random) : bytes,
      http,
    };
  };
  const request = random.weighted<() => FuzzRequest>([
    [
      20,
      () => ({
        method: "GET",
        path: random.chance(0.6) ? all : `${all}/${name}`,
        query: query(random, readParameters),
        headers,
        http,
      }),
    ],
    [25, () => written("POST", all)],
    [12, () => written("PUT", `${all}/${name}`)],
    [22, () => patched(`${all}/${name}`)],
    [
      5,
      () => {
        const path = random.chance(0.9) ? `${all}/${name}` : all;
        const bare = { method: "DELETE", path, query: query(random, writeParameters), headers, http } as const;
        if (random.chance(0.5)) return bare;
        const options = mutated(
          { kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0, preconditions: {} },
          random,
        );
        return {
          ...bare,
          headers: { ...headers, "content-type": "application/json" },
          body: Buffer.from(stringifyJson(options)),
        };
      },
    ],
    [
      10,
      () => {
        const subresource = random.pick([...target.subresources, "status"]);
        const path = `${all}/${name}/${subresource}`;
        const method = random.pick(["GET", "PUT", "PATCH", "POST", "DELETE"]);
        if (method === "PATCH") return patched(path);
        if (method === "GET" || method === "DELETE")
          return { method, path, query: query(random, readParameters), headers, http };
        return written(method, path);
      },
    ],
    [
      6,
      () => {
        const path = mutatedPath(random.pick([all, `${all}/${name}`, random.pick(corpus.plainPaths)]), random);
        const method = random.weighted([
          [6, "GET"],
          [1, "POST"],
          [1, "HEAD"],
          [1, "PUT"],
        ]);
        if (method === "POST" || method === "PUT") return written(method, path);
        return { method, path, query: query(random, readParameters), headers, http };
      },
    ],
    [
      3,
      () => ({
        method: "GET",
        path: random.pick(corpus.plainPaths),
        query: query(random, readParameters),
        headers,
        http,
      }),
    ],
    [1, () => ({ method: random.pick(["OPTIONS", "HEAD", "PROPFIND", "TRACE"]), path: all, query: [], headers, http })],
  ])();
  return tamed(request, target);
}
