import { randomUUID } from "node:crypto";
import type { TokenRequest } from "../../api/generated/authentication-v1.ts";
import { nodes, pods, secrets, serviceAccounts } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { formatTime } from "../../machinery/clock.ts";
import { badRequest, conflict, type FieldError, fieldError, forbidden, invalid } from "../../machinery/status.ts";
import type { ServiceAccountKeys } from "../authentication/service-account-keys.ts";
import { nodeNameOf } from "../authorization/node.ts";
import type { BodySubresource, UserInfo } from "../request.ts";

export interface TokenOptions {
  readonly issuer: string;
  /** Audiences of tokens that ask for none. */
  readonly audiences: readonly string[];
  readonly keys: ServiceAccountKeys;
}

const minimumSeconds = 600;
const maximumSeconds = 2 ** 32;

/**
 * What pods ask for by default. Old client libraries never read their token again, so such a token works for a year,
 * while everyone is told that it ends after this time.
 */
const extendedFromSeconds = 3607;
const extendedToSeconds = 365 * 24 * 3600;

interface Bound {
  readonly kind: "Pod" | "Secret" | "Node";
  readonly name: string;
  readonly uid: string;
  /** Of a pod that runs somewhere. */
  readonly node?: { readonly name: string; readonly uid?: string };
}

/** POST …/serviceaccounts/{name}/token: a signed token of the account, bound to an object when the request names one. */
export function tokenSubresource(options: TokenOptions): BodySubresource {
  return async (context, { info, user, body }) => {
    const request = body as TokenRequest;
    const namespace = info.namespace ?? "";
    const name = info.name ?? "";
    if (request.metadata?.name && request.metadata.name !== name) {
      throw badRequest("the name of the object in the body does not match the name in the URL");
    }
    const seconds = request.spec?.expirationSeconds ?? 3600;
    const refusals: FieldError[] = [];
    if (seconds < minimumSeconds) {
      refusals.push(
        fieldError.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"),
      );
    }
    if (seconds > maximumSeconds) {
      refusals.push(
        fieldError.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"),
      );
    }
    if (refusals.length > 0)
      throw invalid({ group: "authentication.k8s.io", resource: "TokenRequest" }, name, refusals);

    const account = await context.client.get(serviceAccounts, name, { namespace });
    const bound = await findBound(context.client, request, namespace, name);
    checkKubelet(user, name, bound);
    const audiences = request.spec?.audiences?.length ? [...request.spec.audiences] : [...options.audiences];
    const now = Math.floor(context.ioClock.now() / 1000);
    const extended = seconds === extendedFromSeconds && bound?.kind === "Pod";
    const { SignJWT } = await import("jose");
    const token = await new SignJWT({
      aud: audiences,
      exp: now + (extended ? extendedToSeconds : seconds),
      iat: now,
      iss: options.issuer,
      jti: randomUUID(),
      "kubernetes.io": {
        namespace,
        ...(bound ? { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } } : {}),
        ...(bound?.node ? { node: bound.node } : {}),
        serviceaccount: { name, uid: account.metadata.uid },
        ...(extended ? { warnafter: now + seconds } : {}),
      },
      nbf: now,
      sub: `system:serviceaccount:${namespace}:${name}`,
    })
      .setProtectedHeader({ alg: options.keys.signing.algorithm, kid: options.keys.signing.kid })
      .sign(options.keys.signing.privateKey);

    const reply: TokenRequest = {
      kind: "TokenRequest",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { name, namespace, creationTimestamp: formatTime(now * 1000) },
      spec: {
        audiences,
        expirationSeconds: seconds,
        ...(request.spec?.boundObjectRef ? { boundObjectRef: request.spec.boundObjectRef } : {}),
      },
      status: { token, expirationTimestamp: formatTime((now + seconds) * 1000) },
    };
    return { code: 201, body: reply };
  };
}

async function findBound(
  client: Client,
  request: TokenRequest,
  namespace: string,
  account: string,
): Promise<Bound | undefined> {
  const ref = request.spec?.boundObjectRef;
  if (!ref) return undefined;
  const name = ref.name ?? "";
  const kind = `${ref.apiVersion ?? ""}/${ref.kind ?? ""}`;
  const checkUid = (resource: string, uid: string) => {
    if (ref.uid && ref.uid !== uid) {
      const why = `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`;
      throw conflict({ group: "", resource }, name, why);
    }
    return uid;
  };
  switch (kind) {
    case "v1/Pod": {
      const pod = await client.get(pods, name, { namespace });
      const uid = checkUid("pods", pod.metadata.uid!);
      if ((pod.spec?.serviceAccountName || "default") !== account) {
        throw badRequest(
          `cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`,
        );
      }
      const node = pod.spec?.nodeName;
      if (!node) return { kind: "Pod", name, uid };
      // The node may be gone already: then its name has to do.
      const nodeUid = await client.get(nodes, node).then(
        (found) => found.metadata.uid,
        () => undefined,
      );
      return { kind: "Pod", name, uid, node: { name: node, ...(nodeUid ? { uid: nodeUid } : {}) } };
    }
    case "v1/Secret": {
      const secret = await client.get(secrets, name, { namespace });
      return { kind: "Secret", name, uid: checkUid("secrets", secret.metadata.uid!) };
    }
    case "v1/Node": {
      const node = await client.get(nodes, name);
      return { kind: "Node", name, uid: checkUid("nodes", node.metadata.uid!) };
    }
    default:
      throw badRequest(`cannot bind token to object of type ${ref.apiVersion ?? ""}, Kind=${ref.kind ?? ""}`);
  }
}

/** A kubelet gets tokens only for pods that run on it. */
function checkKubelet(user: UserInfo, account: string, bound: Bound | undefined): void {
  const node = nodeNameOf(user);
  if (node === undefined) return;
  const of = { group: "", resource: "serviceaccounts" };
  if (bound?.kind !== "Pod") throw forbidden(of, account, "node requested token not bound to a pod");
  if (bound.node?.name !== node) {
    throw forbidden(of, account, "node requested token bound to a pod scheduled on a different node");
  }
}
