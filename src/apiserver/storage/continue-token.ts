import { badRequest } from "../../machinery/status.ts";

/** Where a paged list goes on: Kubernetes' own token, base64url JSON of version, revision and start key. */
export interface ContinueToken {
  /** As of which revision; {@link anyRevision} for a list that goes on with what is there now. */
  readonly revision: number;
  /** Go on strictly after this key, relative to the listed prefix. */
  readonly after: string;
}

export const anyRevision = -1;

const tokenVersion = "meta.k8s.io/v1";

export function encodeContinue({ revision, after }: ContinueToken): string {
  const token = JSON.stringify({ v: tokenVersion, rv: revision, start: `${after}\0` });
  return Buffer.from(token).toString("base64url");
}

/** Throws 400 for what is no token of ours. */
export function decodeContinue(token: string): ContinueToken {
  let value: { v?: unknown; rv?: unknown; start?: unknown };
  try {
    value = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
  } catch {
    throw badRequest("continue key is not valid: illegal base64 data or JSON in the token");
  }
  const { v, rv, start } = value ?? {};
  if (v !== tokenVersion) throw badRequest("continue key is not valid: server does not recognize this encoded version");
  if (typeof rv !== "number" || !Number.isSafeInteger(rv) || (rv <= 0 && rv !== anyRevision)) {
    throw badRequest("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  }
  if (typeof start !== "string" || start.length < 2 || !start.endsWith("\0") || start.includes("..")) {
    throw badRequest("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)");
  }
  return { revision: rv, after: start.slice(0, -1) };
}
