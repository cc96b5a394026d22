import { randomInt } from "node:crypto";
import { type Container, type Pod, pods, type ServiceAccount, serviceAccounts } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import { StatusError } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

/** Where containers find the token, the authority and the namespace. */
export const tokenDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

const mirrorAnnotation = "kubernetes.io/config.mirror";
/** Without vowels and look-alikes, as in all generated names. */
const letters = "bcdfghjklmnpqrstvwxz2456789";
/** Slightly more than an hour: the API server knows by it that nobody chose this life time. */
const tokenSeconds = 3607;
/** A namespace's own account is made by a controller: a pod that comes right after its namespace waits for it. */
const defaultName = "default";
const defaultAttempts = 10;
const attemptMs = { from: 100, to: 200 };

/** Gives pods their service account, its token as a volume, and its pull secrets. */
export function serviceAccountAdmission(client: Client, clock: Clock, signal: AbortSignal): AdmissionPlugin {
  const lookUp = async (name: string, namespace: string): Promise<ServiceAccount> => {
    const pauseMs = randomInt(attemptMs.from, attemptMs.to);
    for (let left = name === defaultName ? defaultAttempts : 1; ; left--) {
      try {
        return await client.get(serviceAccounts, name, { namespace });
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
        if (left <= 1) throw new StatusError(404, "NotFound", `serviceaccount ${JSON.stringify(name)} not found`);
      }
      await clock.sleep(pauseMs, signal);
    }
  };
  return {
    name: "ServiceAccount",
    async admit(attributes) {
      if (!isAbout(attributes, pods, "CREATE")) return;
      const pod: Pod = attributes.object;
      const spec = pod.spec;
      if (!spec || pod.metadata.annotations?.[mirrorAnnotation] !== undefined) return;
      const name = spec.serviceAccountName || defaultName;
      spec.serviceAccountName = name;
      spec.serviceAccount = name;
      const account = await lookUp(name, attributes.namespace ?? "").catch((error: unknown) => {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
        const which = `${attributes.namespace}/${name}`;
        throw refusedBy(attributes, `error looking up service account ${which}: ${error.message}`);
      });
      if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(spec);
      if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
        spec.imagePullSecrets = account.imagePullSecrets.map(({ name }) => ({ ...(name ? { name } : {}) }));
      }
    },
    async validate(attributes) {
      if (!isAbout(attributes, pods, "CREATE")) return;
      const pod: Pod = attributes.object;
      if (pod.metadata.annotations?.[mirrorAnnotation] === undefined) return;
      if (pod.spec?.serviceAccountName) throw refusedBy(attributes, "a mirror pod may not reference service accounts");
      for (const volume of pod.spec?.volumes ?? []) {
        if (volume.secret) throw refusedBy(attributes, "a mirror pod may not reference secrets");
        if (volume.projected?.sources?.some((source) => source.serviceAccountToken)) {
          throw refusedBy(attributes, "a mirror pod may not use ServiceAccountToken volume projections");
        }
      }
    },
  };
}

/** Mounts a fresh token volume into every container that has nothing of its own there. */
export function mountToken(spec: NonNullable<Pod["spec"]>): void {
  const needing = [...(spec.initContainers ?? []), ...(spec.containers ?? [])].filter(
    (container: Container) => !container.volumeMounts?.some((mount) => mount.mountPath === tokenDirectory),
  );
  if (needing.length === 0) return;
  const suffix = Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
  const name = `kube-api-access-${suffix}`;
  for (const container of needing) {
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: tokenDirectory }];
  }
  const volume = {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
          },
        },
      ],
    },
  };
  spec.volumes = [...(spec.volumes ?? []), volume];
}
