import { createHash } from "node:crypto";
import { nodes, pods, secrets, serviceAccounts } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { KubeObject, ResourceType } from "../../machinery/object.ts";
import { StatusError, unauthorized } from "../../machinery/status.ts";
import type { Authenticator, UserInfo } from "../request.ts";
import { bearerTokenOf } from "./bearer-token.ts";
import type { ServiceAccountKeys } from "./service-account-keys.ts";

/** What a token authenticator answers: the user and those of the asked audiences that the token is meant for. */
export interface AuthenticatedToken {
  readonly user: UserInfo;
  readonly audiences: readonly string[];
}

/** Checks a token for any of `audiences`; `undefined` when it is no token of this kind. Throws `unauthorized()`. */
export type TokenAuthenticator = (
  token: string,
  audiences: readonly string[],
) => Promise<AuthenticatedToken | undefined>;

export interface ServiceAccountOptions {
  /** The API server's own issuer first; older ones still verify. */
  readonly issuers: readonly string[];
  /** Audiences of tokens for the API server itself. */
  readonly audiences: readonly string[];
  readonly keys: ServiceAccountKeys;
  /** A function, since the client exists only after the authenticators. */
  readonly client: () => Client;
  /** The io clock: token validity is never shifted. */
  readonly clock: Clock;
}

const legacyIssuer = "kubernetes/serviceaccount";

/** A bound object that is being deleted keeps its tokens for this long after its deletion time, milliseconds. */
const deletionLeewayMs = 60_000;

/** How many verified tokens are remembered (by hash, never as text). */
const remembered = 5_000;

interface ObjectName {
  readonly name: string;
  readonly uid?: string;
}

/** What a token claims, brought into one form for legacy and bound tokens. */
interface Claims {
  readonly namespace: string;
  readonly serviceAccount: ObjectName;
  readonly pod?: ObjectName;
  readonly secret?: ObjectName;
  readonly node?: ObjectName;
  readonly id?: string;
  /** Absent for legacy tokens, which are for the API server only. */
  readonly audiences?: readonly string[];
  readonly notBeforeMs: number;
  readonly expiresMs: number;
  /** A legacy token is valid while its Secret holds it. */
  readonly legacyHash?: string;
}

/** Tokens of service accounts, checked by signature, time, audience and the life of what they are bound to. */
export function serviceAccountTokenAuthenticator(options: ServiceAccountOptions): TokenAuthenticator {
  const seen = new Map<string, Claims>();
  return async (token, audiences) => {
    const header = peek(token, 0);
    const payload = peek(token, 1);
    // Not ours to judge: other authenticators may know it.
    if (!header || !payload || !isOurs(payload["iss"], options.issuers)) return undefined;
    const hash = createHash("sha256").update(token).digest("base64");
    let claims = seen.get(hash);
    if (!claims) {
      claims = await verify(token, hash, options);
      if (seen.size >= remembered) seen.delete(seen.keys().next().value!);
      seen.set(hash, claims);
    }
    const nowMs = options.clock.now();
    if (nowMs >= claims.expiresMs || nowMs < claims.notBeforeMs) {
      seen.delete(hash);
      throw unauthorized();
    }
    const meant = claims.audiences ?? options.audiences;
    const matching = audiences.filter((audience) => meant.includes(audience));
    if (matching.length === 0) throw unauthorized();
    await checkAlive(claims, options.client(), nowMs);
    return { user: userOf(claims), audiences: matching };
  };
}

/** The same as an authenticator of requests, for the API server's own audiences. */
export function serviceAccountAuthenticator(options: ServiceAccountOptions): Authenticator {
  const authenticate = serviceAccountTokenAuthenticator(options);
  return async ({ headers }) => {
    const token = bearerTokenOf(headers);
    return token === undefined ? undefined : (await authenticate(token, options.audiences))?.user;
  };
}

function isOurs(issuer: unknown, issuers: readonly string[]): boolean {
  return issuer === legacyIssuer || (typeof issuer === "string" && issuers.includes(issuer));
}

function peek(token: string, part: number): Record<string, unknown> | undefined {
  const parts = token.split(".");
  if (parts.length !== 3) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(parts[part]!, "base64url").toString());
    return value !== null && typeof value === "object" ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

async function verify(token: string, hash: string, options: ServiceAccountOptions): Promise<Claims> {
  const { compactVerify } = await import("jose");
  const kid = peek(token, 0)?.["kid"];
  // Tokens made before keys had names carry none: every key is tried.
  const named = options.keys.verifying.filter((key) => key.kid === kid);
  for (const key of named.length > 0 ? named : options.keys.verifying) {
    let payload: Record<string, unknown>;
    try {
      const verified = await compactVerify(token, key.publicKey, { algorithms: [key.algorithm] });
      payload = JSON.parse(Buffer.from(verified.payload).toString()) as Record<string, unknown>;
    } catch {
      continue;
    }
    const claims = payload["iss"] === legacyIssuer ? readLegacyClaims(payload, hash) : readClaims(payload);
    if (claims) return claims;
  }
  throw unauthorized();
}

function readClaims(payload: Record<string, unknown>): Claims | undefined {
  const own = payload["kubernetes.io"] as Record<string, unknown> | undefined;
  const serviceAccount = objectName(own?.["serviceaccount"]);
  const namespace = own?.["namespace"];
  const audiences = [payload["aud"] ?? []].flat().filter((audience) => typeof audience === "string");
  const expires = payload["exp"];
  if (!serviceAccount || typeof namespace !== "string" || typeof expires !== "number") return undefined;
  if (payload["sub"] !== `system:serviceaccount:${namespace}:${serviceAccount.name}`) return undefined;
  const pod = objectName(own?.["pod"]);
  const secret = objectName(own?.["secret"]);
  const node = objectName(own?.["node"]);
  return {
    namespace,
    serviceAccount,
    ...(pod ? { pod } : {}),
    ...(secret ? { secret } : {}),
    ...(node ? { node } : {}),
    ...(typeof payload["jti"] === "string" ? { id: payload["jti"] } : {}),
    audiences,
    notBeforeMs: typeof payload["nbf"] === "number" ? payload["nbf"] * 1000 : 0,
    expiresMs: expires * 1000,
  };
}

function readLegacyClaims(payload: Record<string, unknown>, hash: string): Claims | undefined {
  const claim = (name: string) => payload[`kubernetes.io/serviceaccount/${name}`];
  const namespace = claim("namespace");
  const name = claim("service-account.name");
  const uid = claim("service-account.uid");
  const secret = claim("secret.name");
  if (typeof namespace !== "string" || typeof name !== "string") return undefined;
  if (typeof uid !== "string" || typeof secret !== "string") return undefined;
  return {
    namespace,
    serviceAccount: { name, uid },
    secret: { name: secret },
    notBeforeMs: 0,
    expiresMs: Number.POSITIVE_INFINITY,
    legacyHash: hash,
  };
}

function objectName(value: unknown): ObjectName | undefined {
  const { name, uid } = (value ?? {}) as { name?: unknown; uid?: unknown };
  if (typeof name !== "string" || name === "") return undefined;
  return { name, ...(typeof uid === "string" ? { uid } : {}) };
}

async function checkAlive(claims: Claims, client: Client, nowMs: number): Promise<void> {
  const { namespace, serviceAccount, pod, secret, node } = claims;
  await alive(client, serviceAccounts, serviceAccount, namespace, nowMs);
  if (pod) await alive(client, pods, pod, namespace, nowMs);
  if (node && !pod) await alive(client, nodes, node, undefined, nowMs);
  if (secret) {
    const found = (await alive(client, secrets, secret, namespace, nowMs)) as { data?: Record<string, string> };
    if (claims.legacyHash) {
      const held = Buffer.from(found.data?.["token"] ?? "", "base64");
      if (createHash("sha256").update(held).digest("base64") !== claims.legacyHash) throw unauthorized();
    }
  }
}

async function alive<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  { name, uid }: ObjectName,
  namespace: string | undefined,
  nowMs: number,
): Promise<T> {
  let object: T;
  try {
    object = await client.get(type, name, namespace === undefined ? {} : { namespace });
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) throw unauthorized();
    throw error;
  }
  if (uid !== undefined && object.metadata.uid !== uid) throw unauthorized();
  const deletedAt = object.metadata.deletionTimestamp;
  if (deletedAt !== undefined && Date.parse(deletedAt) + deletionLeewayMs < nowMs) throw unauthorized();
  return object;
}

function userOf({ namespace, serviceAccount, pod, node, id }: Claims): UserInfo {
  const extra: Record<string, readonly string[]> = {};
  const add = (key: string, value: string | undefined) => {
    if (value) extra[`authentication.kubernetes.io/${key}`] = [value];
  };
  add("credential-id", id && `JTI=${id}`);
  add("pod-name", pod?.name);
  add("pod-uid", pod?.uid);
  add("node-name", node?.name);
  add("node-uid", node?.uid);
  return {
    name: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
    ...(serviceAccount.uid ? { uid: serviceAccount.uid } : {}),
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}
