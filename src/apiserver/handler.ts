/** The HTTP door: from a request to a verb and back. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { ResourceFacts } from "../api/resource.ts";
import { apiVersionOf } from "../machinery/object.ts";
import { badRequest, methodNotSupported, notBuilt, StatusError } from "../machinery/status.ts";
import type { Relay } from "./aggregation/aggregator.ts";
import { forbiddenError } from "./authorization/forbidden-error.ts";
import { managerOf, readWriteParameters } from "./call-options.ts";
import { type Call, type Core, groupResource, toStatusError } from "./core.ts";
import { type Exchange, readObjectBody, setWarnings } from "./http/exchange.ts";
import { FanOut } from "./http/fan-out.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";
import { negotiate } from "./http/negotiate.ts";
import {
  answerCreate,
  answerDelete,
  answerDeleteCollection,
  answerGet,
  answerList,
  answerPatch,
  answerUpdate,
} from "./http/object-requests.ts";
import { sendError, sendObject } from "./http/reply.ts";
import { Turns } from "./http/turns.ts";
import { answerWatch, answerWatchSocket } from "./http/watch-requests.ts";
import { checkVerb, decodeBody, isObjectSubresource } from "./operations.ts";
import type {
  AuthorizationAttributes,
  Authorizer,
  BodySubresource,
  RequestInfo,
  ServerContext,
  StreamSubresource,
  UserInfo,
} from "./request.ts";
import { parseRequestInfo } from "./request-info.ts";
import { checkScope, nameInPath, pathNotFound, urlOf } from "./request-path.ts";
import type { ResourceTable } from "./resource-table.ts";
import { connectOptions } from "./subresources/connect-options.ts";
import { admissionAttributes, admit, validateAdmission } from "./verbs/admit.ts";
import { bodyTypeOf } from "./verbs/body-type.ts";

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
  /** Who answers a path that another server serves; undefined for all other paths. */
  readonly relayOf: (path: string) => Relay | undefined;
  /** Paths outside resources, after authorization; false: no such path. */
  readonly plain: (request: Incoming, response: Outgoing, url: URL, info: RequestInfo) => Promise<boolean>;
  /** Ends watches and streams when the server stops. */
  readonly signal: AbortSignal;
  readonly onDone?: (info: RequestInfo | undefined, code: number, startedMs: number) => void;
}

/** Verbs that leave nobody's name on an object. */
const readsOnly: ReadonlySet<string> = new Set(["get", "list", "watch"]);

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
      const relay = this.#options.relayOf(info.path);
      if (relay) {
        const { subresource: _, ...others } = info;
        // Which resources the other server has is not known here: they must not become labels of metrics.
        info = { ...others, resource: "" };
        await relay({ request, response, url, user });
      } else if (info.isResource) await this.#resource(request, response, url, info, user);
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
      const relay = this.#options.relayOf(info.path);
      if (relay) return await relay({ request, url, user, upgrade: { socket, head } });
      const facts = info.isResource ? this.#options.resources.find(info.group, info.version, info.resource) : undefined;
      const stream =
        facts &&
        info.subresource &&
        this.#options.special.streams[`${info.group}/${info.resource}/${info.subresource}`];
      if (facts && !stream && info.verb === "watch") {
        checkScope(facts, info, url);
        checkVerb(facts, info.subresource, info.verb);
        const { core, signal } = this.#options;
        const exchange = { core, request: request as IncomingMessage, url, call: callOf(facts, info, user) };
        return await answerWatchSocket(exchange, { socket, head }, signal);
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
    const { verb, group, version, resource, subresource, namespace, name } = info;
    const attributes: { -readonly [K in keyof AuthorizationAttributes]: AuthorizationAttributes[K] } = {
      user,
      verb,
      group,
      version,
      resource,
    };
    // Assigned, not spread: this is done for every request.
    if (subresource) attributes.subresource = subresource;
    if (namespace) attributes.namespace = namespace;
    if (name) attributes.name = name;
    if (!info.isResource) attributes.path = info.path;
    const decision = await this.#options.authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
  }

  async #resource(request: Incoming, response: Outgoing, url: URL, info: RequestInfo, user: UserInfo): Promise<void> {
    const facts = this.#options.resources.find(info.group, info.version, info.resource);
    if (!facts) throw pathNotFound();
    const { subresource } = info;
    const special = `${facts.group}/${facts.resource}${subresource ? `/${subresource}` : ""}`;
    const stream = this.#options.special.streams[special];
    // What is proxied may have any method, also those that are no verb here.
    if (stream) return this.#stream(stream, facts, { request, url, info, user, response });
    if (info.verb === "") throw pathNotFound();
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
      fieldManager: readsOnly.has(info.verb)
        ? ""
        : managerOf(url.searchParams.get("fieldManager") ?? undefined, request.headers["user-agent"]),
      // At once, so that refusals carry them, too.
      warn: (text) => {
        warnings.push(text);
        setWarnings(response, warnings);
      },
    };
    const exchange: Exchange = { core: this.#options.core, request, response, url, call, warnings };
    switch (info.verb) {
      case "get":
        return answerGet(exchange);
      case "list":
        return answerList(exchange);
      case "watch":
        return answerWatch(exchange, this.#fanOut, this.#options.signal);
      case "create":
        return answerCreate(exchange);
      case "update":
        return answerUpdate(exchange);
      case "patch":
        return answerPatch(exchange);
      case "delete":
        return answerDelete(exchange);
      case "deletecollection":
        return answerDeleteCollection(exchange);
      default:
        throw methodNotSupported(groupResource(facts), info.verb);
    }
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
    const warnings: string[] = [];
    const { core, context } = this.#options;
    const { dryRun, options } = parameters;
    const warn = (text: string) => {
      warnings.push(text);
      setWarnings(response, warnings);
    };
    const call = { ...callOf(facts, info, user), dryRun, options, warn };
    const parsed = await readObjectBody({ core, request, call }, parameters.fieldValidation);
    const body = decodeBody(bodyTypeOf(facts, info.subresource), parsed, warn);
    const attributes = admissionAttributes(call, "CREATE", body, undefined);
    await admit(core, call, attributes);
    await validateAdmission(core, call, attributes);
    const reply = await run(context, { info, user, body, dryRun });
    await sendObject(request, response, reply.code, encoding, {
      kind: facts.kind,
      apiVersion: apiVersionOf(facts),
      ...reply.body,
    });
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
    if (info.subresource !== "log") {
      const options = connectOptions(facts, info, url);
      const call = { ...callOf(facts, info, user), ...(options ? { options } : {}) };
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
