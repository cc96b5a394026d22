/** The HTTP door: from a request to a verb and back. */
import { randomInt } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { ResourceFacts } from "../api/resource.ts";
import { builtInSchema } from "../api/schemas.ts";
import { JsonError } from "../machinery/json.ts";
import { apiVersionOf } from "../machinery/object.ts";
import {
  badRequest,
  fieldError,
  invalid,
  methodNotSupported,
  notBuilt,
  StatusError,
  unsupportedMediaType,
} from "../machinery/status.ts";
import { forbiddenError } from "./authorization/forbidden-error.ts";
import { managerOf, readDeleteParameters, readListParameters, readWriteParameters } from "./call-options.ts";
import { type Call, type Core, groupResource, toStatusError } from "./core.ts";
import { mediaTypeOf, parseBody, parseYaml, readBody, type SchemaFor } from "./http/body.ts";
import { encodeItem, encodeList, parseIncludeObject, type View } from "./http/encode.ts";
import { FanOut } from "./http/fan-out.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";
import { negotiate } from "./http/negotiate.ts";
import { sendEncoded, sendError, sendObject } from "./http/reply.ts";
import { Turns } from "./http/turns.ts";
import { httpSink, WatchEncoder, webSocketSink } from "./http/watch-stream.ts";
import { acceptWatchSocket } from "./http/web-socket-watch.ts";
import {
  checkVerb,
  createObject,
  isObjectSubresource,
  type ParsedBody,
  patchObject,
  readObject,
  updateObject,
} from "./operations.ts";
import type {
  Authorizer,
  BodySubresource,
  RequestInfo,
  ServerContext,
  StreamSubresource,
  UserInfo,
} from "./request.ts";
import { parseRequestInfo } from "./request-info.ts";
import type { ResourceTable } from "./resource-table.ts";
import type { CachedObject } from "./storage/cached-object.ts";
import { admissionAttributes, admit, validateAdmission } from "./verbs/admit.ts";
import { type DeleteOutcome, deleteObject } from "./verbs/delete.ts";
import { deleteCollection } from "./verbs/delete-collection.ts";
import { list } from "./verbs/list.ts";
import { type PatchType, parsePatchFindings } from "./verbs/patch.ts";
import { type WatchSink, watch } from "./verbs/watch.ts";

/** Handlers of what is more than reading and writing objects; keys are "<group>/<resource>[/<subresource>]". */
export interface SpecialHandlers {
  readonly bodies: Readonly<Record<string, BodySubresource>>;
  readonly streams: Readonly<Record<string, StreamSubresource>>;
}

export interface HandlerOptions {
  readonly core: Core;
  readonly context: ServerContext;
  readonly resources: ResourceTable;
  readonly special: SpecialHandlers;
  /** Who a request is from, impersonation included. Throws 401, 403. */
  readonly authenticate: (request: Incoming) => Promise<UserInfo>;
  readonly authorize: Authorizer;
  /** Paths outside resources, after authorization; false: no such path. */
  readonly plain: (request: Incoming, response: Outgoing, url: URL, info: RequestInfo) => Promise<boolean>;
  /** Ends watches and streams when the server stops. */
  readonly signal: AbortSignal;
  readonly onDone?: (info: RequestInfo | undefined, code: number, startedMs: number) => void;
}

const patchTypes: Readonly<Record<string, PatchType>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

/** Without a timeout of its own a watch ends after half an hour to an hour, so that watches spread over servers. */
const watchSecondsMin = 1800;

/** Resources whose DELETE answers the object that was removed, not a Status. */
const returnsDeleted = new Set([
  "pods",
  "podtemplates",
  "resourcequotas",
  "serviceaccounts",
  "persistentvolumes",
  "persistentvolumeclaims",
]);

export class Handler {
  readonly #options: HandlerOptions;
  readonly #fanOut: FanOut;
  readonly #turns: Turns;

  constructor(options: HandlerOptions) {
    this.#options = options;
    this.#fanOut = new FanOut(options.core.ioClock);
    this.#turns = new Turns(options.core.ioClock);
  }

  /** Answers a request; never throws. */
  async handle(request: Incoming, response: Outgoing): Promise<void> {
    const startedMs = this.#options.core.ioClock.now();
    let info: RequestInfo | undefined;
    try {
      if (!this.#turns.open) await this.#turns.next();
      const url = urlOf(request);
      info = parseRequestInfo(request.method ?? "GET", url);
      const user = await this.#options.authenticate(request);
      await this.#authorize(user, info);
      if (info.isResource) await this.#resource(request, response, url, info, user);
      else if (!(await this.#options.plain(request, response, url, info))) throw pathNotFound();
    } catch (error) {
      await this.#fail(request, response, error);
    } finally {
      this.#options.onDone?.(info, response.statusCode, startedMs);
    }
  }

  /** Takes over an upgraded connection (exec, attach, port-forward, proxy, watch over WebSocket). */
  async upgrade(request: Incoming, socket: Duplex, head: Buffer): Promise<void> {
    try {
      const url = urlOf(request);
      const info = parseRequestInfo(request.method ?? "GET", url);
      const user = await this.#options.authenticate(request);
      await this.#authorize(user, info);
      const facts = info.isResource ? this.#options.resources.find(info.group, info.version, info.resource) : undefined;
      const stream =
        facts &&
        info.subresource &&
        this.#options.special.streams[`${info.group}/${info.resource}/${info.subresource}`];
      if (facts && !stream && info.verb === "watch") {
        return await this.#watchSocket(request as IncomingMessage, socket, head, url, info, user, facts);
      }
      if (!facts || !stream) throw badRequest("this path does not take an upgraded connection");
      await this.#stream(stream, facts, { request, url, info, user, upgrade: { socket, head } });
    } catch (error) {
      const status = this.#statusOf(error);
      const body = JSON.stringify(status.toStatus());
      socket.end(
        `HTTP/1.1 ${status.code} ${status.reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
  }

  #statusOf(error: unknown): StatusError {
    const status = toStatusError(error);
    if (status.code >= 500 && !(error instanceof StatusError)) {
      this.#options.core.logger.error({ err: error }, "A request failed");
    }
    return status;
  }

  async #fail(request: Incoming, response: Outgoing, error: unknown): Promise<void> {
    await sendError(request, response, this.#statusOf(error)).catch(() => response.destroy());
  }

  async #authorize(user: UserInfo, info: RequestInfo): Promise<void> {
    const attributes = {
      user,
      verb: info.verb,
      group: info.group,
      version: info.version,
      resource: info.resource,
      ...(info.subresource ? { subresource: info.subresource } : {}),
      ...(info.namespace ? { namespace: info.namespace } : {}),
      ...(info.name ? { name: info.name } : {}),
      ...(info.isResource ? {} : { path: info.path }),
    };
    const decision = await this.#options.authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
  }

  async #resource(request: Incoming, response: Outgoing, url: URL, info: RequestInfo, user: UserInfo): Promise<void> {
    const facts = this.#options.resources.find(info.group, info.version, info.resource);
    if (!facts || info.verb === "") throw pathNotFound();
    const { subresource } = info;
    const special = `${facts.group}/${facts.resource}${subresource ? `/${subresource}` : ""}`;
    const stream = this.#options.special.streams[special];
    if (stream) return this.#stream(stream, facts, { request, url, info, user, response });
    checkScope(facts, info, url);
    const body = this.#options.special.bodies[special];
    if (body) return this.#body(request, response, url, info, user, facts, body);
    if (subresource && !Object.hasOwn(facts.subresources, subresource)) throw pathNotFound();
    checkVerb(facts, subresource, info.verb);
    if ((subresource && !isObjectSubresource(facts, subresource)) || (!facts.storage && !subresource)) {
      throw notBuilt(special);
    }

    const warnings: string[] = facts.deprecation ? [facts.deprecation] : [];
    setWarnings(response, warnings);
    const call: Call = {
      facts,
      namespace: facts.namespaced ? info.namespace : undefined,
      name: nameInPath(info, url),
      subresource,
      user,
      admission: true,
      dryRun: false,
      fieldManager: managerOf(url.searchParams.get("fieldManager") ?? undefined, request.headers["user-agent"]),
      warn: (text) => warnings.push(text),
    };
    const exchange = { request, response, url, call, warnings };
    switch (info.verb) {
      case "get":
        return this.#get(exchange);
      case "list":
        return this.#list(exchange);
      case "watch":
        return this.#watch(exchange);
      case "create":
        return this.#create(exchange);
      case "update":
        return this.#update(exchange);
      case "patch":
        return this.#patch(exchange);
      case "delete":
        return this.#delete(exchange);
      case "deletecollection":
        return this.#deleteCollection(exchange);
      default:
        throw methodNotSupported(groupResource(facts), info.verb);
    }
  }

  #view(
    { request, url, call }: Pick<Exchange, "request" | "url"> & { call: Pick<Call, "facts"> },
    offer: "object" | "watch" = "object",
  ): View {
    return {
      encoding: negotiate(request.headers.accept, call.facts.custom ? `custom-${offer}` : offer),
      includeObject: parseIncludeObject(url.searchParams.get("includeObject")),
      nowMs: this.#options.core.clusterClock.now(),
    };
  }

  async #send(exchange: Exchange, code: number, item: CachedObject, view: View): Promise<void> {
    const { request, response, warnings } = exchange;
    setWarnings(response, warnings);
    await sendEncoded(request, response, code, view.encoding, encodeItem(item, view), isPretty(exchange));
  }

  async #get(exchange: Exchange): Promise<void> {
    const view = this.#view(exchange);
    const revision = exchange.url.searchParams.get("resourceVersion") ?? undefined;
    await this.#send(exchange, 200, await readObject(this.#options.core, exchange.call, revision), view);
  }

  async #list(exchange: Exchange): Promise<void> {
    const { request, response, url, call } = exchange;
    const view = this.#view(exchange);
    const page = await list(this.#options.core, call, readListParameters(url.searchParams));
    await sendEncoded(
      request,
      response,
      200,
      view.encoding,
      await encodeList(call.facts, page, view),
      isPretty(exchange),
    );
  }

  async #watch(exchange: Exchange): Promise<void> {
    const { request, response, url, call } = exchange;
    const view = this.#view(exchange, "watch");
    const parameters = readListParameters(url.searchParams);
    const timeoutSeconds = parameters.timeoutSeconds || watchSecondsMin + randomInt(watchSecondsMin);
    const encoder = new WatchEncoder(call.facts, () => ({ ...view, nowMs: this.#options.core.clusterClock.now() }));
    const { signal } = this.#options;
    request.resume();
    await new Promise<void>((resolve, reject) => {
      const sink = httpSink(response, encoder, this.#fanOut);
      let stop: (() => void) | undefined;
      const onGone = () => stop?.();
      const finish = () => {
        signal.removeEventListener("abort", onGone);
        resolve();
      };
      response.once("close", onGone);
      signal.addEventListener("abort", onGone, { once: true });
      watch(
        this.#options.core,
        call,
        { ...parameters, timeoutSeconds },
        {
          ...sink,
          end: (error) => {
            sink.end(error);
            finish();
          },
        },
      ).then((started) => {
        stop = started;
        if (response.destroyed || signal.aborted) stop();
      }, reject);
    });
  }

  async #watchSocket(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    url: URL,
    info: RequestInfo,
    user: UserInfo,
    facts: ResourceFacts,
  ): Promise<void> {
    checkScope(facts, info, url);
    checkVerb(facts, info.subresource, info.verb);
    const call = callOf(facts, info, user);
    const view = this.#view({ request, url, call }, "watch");
    const parameters = readListParameters(url.searchParams);
    const encoder = new WatchEncoder(facts, () => ({ ...view, nowMs: this.#options.core.clusterClock.now() }));
    // Refusals come before the handshake, as plain replies; so the watch starts first and waits for its socket.
    const early: (() => void)[] = [];
    let sink: WatchSink | undefined;
    const later = (run: (sink: WatchSink) => void) => {
      if (sink) run(sink);
      else early.push(() => run(sink!));
    };
    const stop = await watch(this.#options.core, call, parameters, {
      open: () => {},
      changes: (changes) => later((to) => to.changes(changes)),
      bookmark: (revision, initial) => later((to) => to.bookmark(revision, initial)),
      end: (error) => later((to) => to.end(error)),
    });
    const connection = await acceptWatchSocket(request, socket, head);
    const { signal } = this.#options;
    signal.addEventListener("abort", stop, { once: true });
    connection.onClose(() => {
      signal.removeEventListener("abort", stop);
      stop();
    });
    sink = webSocketSink(connection, encoder);
    for (const run of early) run();
  }

  async #create(exchange: Exchange): Promise<void> {
    const { request, url, call } = exchange;
    const view = this.#view(exchange);
    const parameters = readWriteParameters(url.searchParams, "CreateOptions");
    const body = await this.#parsed(request, call, parameters.fieldValidation);
    const item = await createObject(this.#options.core, { ...call, dryRun: parameters.dryRun }, body);
    await this.#send(exchange, 201, item, view);
  }

  async #update(exchange: Exchange): Promise<void> {
    const { request, url, call } = exchange;
    const view = this.#view(exchange);
    const parameters = readWriteParameters(url.searchParams, "UpdateOptions");
    const body = await this.#parsed(request, call, parameters.fieldValidation);
    const { item, created } = await updateObject(this.#options.core, { ...call, dryRun: parameters.dryRun }, body);
    await this.#send(exchange, created ? 201 : 200, item, view);
  }

  async #patch(exchange: Exchange): Promise<void> {
    const { request, url, call } = exchange;
    const view = this.#view(exchange);
    const parameters = readWriteParameters(url.searchParams, "PatchOptions");
    const mediaType = mediaTypeOf(request.headers["content-type"]);
    const type = Object.hasOwn(patchTypes, mediaType) ? patchTypes[mediaType]! : undefined;
    if (!type || (type === "strategic" && call.facts.custom)) throw unknownPatch(call.facts);
    checkPatchOptions(type, parameters.force, url.searchParams);
    const bytes = await readBody(request);
    let parsed: { body: unknown; findings: readonly string[] };
    try {
      parsed = await parsePatchFindings(bytes, type, parseYaml);
    } catch (error) {
      if (!(error instanceof JsonError) && error instanceof StatusError) throw error;
      throw badRequest(`error decoding patch: ${(error as Error).message}`);
    }
    const { item, created } = await patchObject(
      this.#options.core,
      { ...call, dryRun: parameters.dryRun },
      { type, ...parsed, force: parameters.force, fieldValidation: parameters.fieldValidation },
    );
    await this.#send(exchange, created ? 201 : 200, item, view);
  }

  async #deleteOptions({ request, url }: Exchange) {
    const bytes = await readBody(request);
    if (bytes.length === 0) return readDeleteParameters(undefined, url.searchParams);
    const body = await parseBody(bytes, mediaTypeOf(request.headers["content-type"]), "DeleteOptions", {}, () =>
      builtInSchema("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
    );
    if (typeof body !== "object" || body === null || Array.isArray(body)) {
      throw badRequest("the object provided is unrecognized (must be of type DeleteOptions)");
    }
    const { kind } = body as { kind?: unknown };
    if (kind !== undefined && kind !== "DeleteOptions") {
      throw badRequest(`decoded object cannot be converted to DeleteOptions: its kind is ${JSON.stringify(kind)}`);
    }
    return readDeleteParameters(body as Record<string, unknown>, url.searchParams);
  }

  async #delete(exchange: Exchange): Promise<void> {
    const { request, response, call } = exchange;
    const view = this.#view(exchange);
    const parameters = await this.#deleteOptions(exchange);
    const outcome = await deleteObject(this.#options.core, { ...call, dryRun: parameters.dryRun }, parameters);
    if (outcome.removed && !(returnsDeleted.has(call.facts.resource) && !call.facts.custom)) {
      setWarnings(response, exchange.warnings);
      await sendObject(request, response, 200, view.encoding, deletedStatus(call.facts, outcome), isPretty(exchange));
    } else {
      const code = !outcome.removed && parameters.orphanDependents === false ? 202 : 200;
      await this.#send(exchange, code, outcome.item, view);
    }
  }

  async #deleteCollection(exchange: Exchange): Promise<void> {
    const { request, response, url, call } = exchange;
    const view = this.#view(exchange);
    const parameters = await this.#deleteOptions(exchange);
    const page = await deleteCollection(
      this.#options.core,
      { ...call, dryRun: parameters.dryRun },
      readListParameters(url.searchParams),
      parameters,
    );
    await sendEncoded(
      request,
      response,
      200,
      view.encoding,
      await encodeList(call.facts, page, view),
      isPretty(exchange),
    );
  }

  async #parsed(request: Incoming, call: Call, fieldValidation: ParsedBody["fieldValidation"]): Promise<ParsedBody> {
    const findings: string[] = [];
    const onDuplicate = (path: string) => findings.push(`duplicate field ${JSON.stringify(path)}`);
    const bytes = await readBody(request);
    const options = fieldValidation === "Ignore" ? {} : { onDuplicate };
    const kind = call.subresource === "scale" ? "Scale" : call.facts.kind;
    const value = await parseBody(
      bytes,
      mediaTypeOf(request.headers["content-type"]),
      kind,
      options,
      schemasOf(call.facts, call.subresource),
    );
    return { value, findings, fieldValidation };
  }

  async #body(
    request: Incoming,
    response: Outgoing,
    url: URL,
    info: RequestInfo,
    user: UserInfo,
    facts: ResourceFacts,
    run: BodySubresource,
  ): Promise<void> {
    checkVerb(facts, info.subresource, info.verb);
    const encoding = negotiate(request.headers.accept, "typed");
    const parameters = readWriteParameters(url.searchParams, "CreateOptions");
    const bytes = await readBody(request);
    const kind = (info.subresource && facts.subresources[info.subresource]?.kind) || facts.kind;
    const value = await parseBody(
      bytes,
      mediaTypeOf(request.headers["content-type"]),
      kind,
      {},
      schemasOf(facts, info.subresource),
    );
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw badRequest(`the object provided is unrecognized (must be of type ${kind})`);
    }
    const body = { metadata: {}, ...value };
    const reply = await run(this.#options.context, { info, user, body, dryRun: parameters.dryRun });
    const type = { kind: facts.kind, apiVersion: apiVersionOf(facts) };
    await sendObject(request, response, reply.code, encoding, { ...type, ...reply.body });
  }

  async #stream(
    run: StreamSubresource,
    facts: ResourceFacts,
    on: {
      request: Incoming;
      url: URL;
      info: RequestInfo;
      user: UserInfo;
      response?: Outgoing;
      upgrade?: { socket: Duplex; head: Buffer };
    },
  ): Promise<void> {
    const { request, url, info, user, response, upgrade } = on;
    checkScope(facts, info, url);
    const { core, context } = this.#options;
    const call = callOf(facts, info, user);
    if (info.subresource !== "log") {
      const attributes = admissionAttributes(call, "CONNECT", undefined, undefined);
      await admit(core, call, attributes);
      await validateAdmission(core, call, attributes);
    }
    const gone = new AbortController();
    const onGone = () => gone.abort(new Error("the connection was closed"));
    (response ?? upgrade!.socket).once("close", onGone);
    this.#options.signal.addEventListener("abort", onGone, { once: true });
    try {
      await run(context, {
        info,
        user,
        url,
        method: request.method ?? "GET",
        headers: request.headers,
        incoming: request,
        ...(upgrade ? { upgrade } : {}),
        ...(response ? { response } : {}),
        signal: gone.signal,
      });
    } finally {
      this.#options.signal.removeEventListener("abort", onGone);
    }
  }
}

/** Types that stand in protobuf bodies of subresources; the others send the resource's own kind. */
const subresourceSchemas: Readonly<Record<string, string>> = {
  Scale: "io.k8s.api.autoscaling.v1.Scale",
  Eviction: "io.k8s.api.policy.v1.Eviction",
  Binding: "io.k8s.api.core.v1.Binding",
  TokenRequest: "io.k8s.api.authentication.v1.TokenRequest",
};

/** How protobuf bodies of a resource are read; custom resources have no protobuf, but their Scale has. */
function schemasOf(facts: ResourceFacts, subresource: string | undefined): SchemaFor | undefined {
  if (facts.custom && subresource !== "scale") return undefined;
  return (_apiVersion, kind) => {
    const other = subresource && Object.hasOwn(subresourceSchemas, kind) ? subresourceSchemas[kind] : undefined;
    return other ? builtInSchema(other) : facts.schema;
  };
}

interface Exchange {
  readonly request: Incoming;
  readonly response: Outgoing;
  readonly url: URL;
  readonly call: Call;
  readonly warnings: string[];
}

/** The call of a request that writes nothing. */
function callOf(facts: ResourceFacts, info: RequestInfo, user: UserInfo): Call {
  return {
    facts,
    namespace: facts.namespaced ? info.namespace : undefined,
    name: info.name ?? "",
    subresource: info.subresource,
    user,
    admission: true,
    dryRun: false,
    fieldManager: "",
    warn: () => {},
  };
}

export function urlOf(request: Incoming): URL {
  try {
    // Joined, not resolved: "//host/path" is a path here.
    return new URL(`https://localhost${request.url ?? "/"}`);
  } catch {
    throw badRequest(`invalid URL ${JSON.stringify(request.url)}`);
  }
}

/** The 404 of a path that nothing serves. */
export function pathNotFound(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

/** The name as the path has it; a list by field selector has one in `info` only for authorization. */
function nameInPath(info: RequestInfo, url: URL): string {
  const collection = info.verb === "list" || info.verb === "watch" || info.verb === "deletecollection";
  const last = decodeURIComponent(url.pathname).replace(/\/$/, "").split("/").at(-1);
  if (collection && last !== info.name) return "";
  return info.name ?? "";
}

/** Namespaced resources are written inside a namespace, others never. */
function checkScope(facts: ResourceFacts, info: RequestInfo, url: URL): void {
  const collection = ["list", "watch", "deletecollection"].includes(info.verb) && nameInPath(info, url) === "";
  if (facts.namespaced && !info.namespace && (info.verb === "deletecollection" || !collection)) {
    // A review or binding may be posted without a namespace in its path only where it is cluster-scoped.
    throw info.verb === "create" || info.verb === "deletecollection"
      ? methodNotSupported(groupResource(facts), info.verb)
      : pathNotFound();
  }
  const isNamespaceItself = facts.resource === "namespaces" && facts.group === "";
  if (!facts.namespaced && info.namespace !== undefined && !isNamespaceItself) throw pathNotFound();
  // Only a subresource is created below a name.
  const named = info.verb === "create" && info.name !== undefined && !info.subresource;
  if (named) throw methodNotSupported(groupResource(facts), info.verb);
  if (["create", "list", "watch", "deletecollection"].includes(info.verb)) return;
  if (!info.name) throw methodNotSupported(groupResource(facts), info.verb);
}

function setWarnings(response: Outgoing, warnings: readonly string[]): void {
  if (warnings.length === 0 || response.headersSent) return;
  // RFC 7234: 299 is "miscellaneous persistent warning"; the agent is "-".
  const lines = [...new Set(warnings)].map((text) => `299 - ${JSON.stringify(text).replace(/[^\x20-\x7e]/g, "?")}`);
  response.setHeader("warning", lines);
}

function isPretty({ request, url }: Exchange): boolean {
  const asked = url.searchParams.get("pretty");
  if (asked !== null) return asked !== "false" && asked !== "0";
  // People read what these print.
  return /^(curl|Wget|Mozilla\/5\.0)/.test(request.headers["user-agent"] ?? "");
}

function unknownPatch(facts: ResourceFacts): StatusError {
  const accepted = Object.keys(patchTypes).filter((type) => !(facts.custom && type.includes("strategic")));
  const list = accepted.join(", ");
  return unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${list}`,
  );
}

/** The rules of ValidatePatchOptions. */
function checkPatchOptions(type: PatchType, force: boolean, query: URLSearchParams): void {
  const of = { group: "meta.k8s.io", resource: "PatchOptions" };
  if (type === "apply") {
    if (query.get("fieldManager")) return;
    throw invalid(of, "", [fieldError.required("fieldManager", "is required for apply patch")]);
  }
  if (query.has("force") && force)
    throw invalid(of, "", [fieldError.forbidden("force", "may not be specified for non-apply patch")]);
}

function deletedStatus(facts: ResourceFacts, { item }: DeleteOutcome): object {
  const { name, uid } = item.object.metadata;
  const details = { name, ...(facts.group ? { group: facts.group } : {}), kind: facts.resource, uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
}
