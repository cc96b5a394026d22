import { type Secret, secrets } from "../api/generated/core-v1.ts";
import { type DeepReadonly, type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";

const tokenType = "bootstrap.kubernetes.io/token";

/** When a bootstrap token expires, in milliseconds since the epoch; undefined: never, or what it says is no time. */
function expiryMs({ data }: DeepReadonly<Secret>): number | undefined {
  const text = Buffer.from(data?.["expiration"] ?? "", "base64").toString();
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? undefined : atMs;
}

/** Deletes bootstrap tokens that have expired. */
export const tokenCleaner: ControllerFactory = {
  name: "token-cleaner",
  create({ client, clock, informers }) {
    const informer = informers.of(secrets);
    const isToken = ({ type, metadata }: DeepReadonly<Secret>) =>
      type === tokenType && metadata.namespace === "kube-system";
    return {
      watches: [watch(informer, (secret) => (isToken(secret) ? [keyOf(secret as KubeObject)] : []))],
      async reconcile(key, signal) {
        const secret = informer.get(key);
        const atMs = secret && expiryMs(secret);
        if (!secret || atMs === undefined) return undefined;
        const leftMs = atMs - clock.now();
        if (leftMs > 0) return { requeueAfterMs: leftMs };
        const { namespace = "", name } = splitKey(key);
        const { uid, resourceVersion } = secret.metadata;
        const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
        try {
          await client.delete(secrets, name, { namespace, preconditions, signal });
        } catch (error) {
          if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
        }
        return undefined;
      },
    };
  },
};
