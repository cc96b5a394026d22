import {
  type ConfigMap,
  configMaps,
  type PersistentVolume,
  persistentVolumeClaims,
  persistentVolumes,
  type Secret,
  type Service,
  secrets,
  serviceAccounts,
  services,
} from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { KubeObject, ResourceType } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import { type ChangeListener, ObjectChanges } from "./object-changes.ts";

export interface ServiceAccountToken {
  readonly token: string;
  readonly expiresAtMs: number;
}

/** Objects that many containers start with at the same moment are fetched once. */
const shareForMs = 1000;

/** Fetches what pods refer to. Every method rejects when the API does not answer. */
export class ReferencedObjects {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #changes: ObjectChanges;
  readonly #shared = new Map<string, Promise<unknown>>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.#changes = new ObjectChanges(client, clock);
  }

  /** Calls back with an object's version, now and when it changes. Returns how to end that. */
  follow(type: ResourceType, namespace: string, name: string, listener: ChangeListener): () => void {
    return this.#changes.follow(type, namespace, name, (version) => {
      // What was fetched before is outdated.
      this.#shared.delete(`${type.resource}/${namespace}/${name}`);
      listener(version);
    });
  }

  /** `undefined` when there is no such ConfigMap. */
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined> {
    return this.#get(configMaps, namespace, name);
  }

  secret(namespace: string, name: string): Promise<Secret | undefined> {
    return this.#get(secrets, namespace, name);
  }

  /** The volume that a claim is bound to. Throws with the reason when there is none yet. */
  async volumeOfClaim(namespace: string, name: string): Promise<PersistentVolume> {
    const claim = await this.#get(persistentVolumeClaims, namespace, name);
    if (!claim) throw new Error(`persistentvolumeclaim "${name}" not found`);
    const volumeName = claim.spec?.volumeName;
    if (!volumeName || claim.status?.phase !== "Bound") throw new Error(`persistentvolumeclaim "${name}" is not bound`);
    const volume = await this.#get(persistentVolumes, "", volumeName);
    if (!volume) throw new Error(`persistentvolume "${volumeName}" not found`);
    return volume;
  }

  /** Services whose variables a container gets: those of the namespace when asked for, and the API server's always. */
  async serviceLinks(namespace: string, all: boolean): Promise<Service[]> {
    const master = this.#share("services/default/kubernetes", async () => {
      const found = await this.#get(services, "default", "kubernetes");
      return found ? [found] : [];
    });
    if (!all) return master;
    const own = await this.#share(
      `services/${namespace}`,
      async () => (await this.#client.list(services, { namespace, resourceVersion: "0" })).items,
    );
    const isMaster = ({ metadata }: Service) => metadata.namespace === "default" && metadata.name === "kubernetes";
    return [...(await master), ...own.filter((service) => !isMaster(service))];
  }

  /** A token of the pod's service account that dies with the pod. */
  async token(
    pod: { namespace: string; name: string; uid: string; serviceAccount: string },
    audience: string | undefined,
    expirationSeconds: number,
  ): Promise<ServiceAccountToken> {
    const reply = await this.#client.createSubresource<{ status?: { token?: string; expirationTimestamp?: string } }>(
      serviceAccounts,
      pod.serviceAccount,
      "token",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        metadata: { name: pod.serviceAccount, namespace: pod.namespace },
        spec: {
          audiences: audience ? [audience] : [],
          expirationSeconds,
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod.name, uid: pod.uid },
        },
      },
      { namespace: pod.namespace },
    );
    if (!reply.status?.token) throw new Error(`the server sent no token for serviceaccount "${pod.serviceAccount}"`);
    return { token: reply.status.token, expiresAtMs: Date.parse(reply.status.expirationTimestamp ?? "") };
  }

  #get<T extends KubeObject>(type: ResourceType<T>, namespace: string, name: string): Promise<T | undefined> {
    return this.#share(`${type.resource}/${namespace}/${name}`, async () => {
      try {
        return await this.#client.get(type, name, namespace ? { namespace } : {});
      } catch (error) {
        if (error instanceof StatusError && error.code === 404) return undefined;
        throw error;
      }
    });
  }

  #share<T>(key: string, fetch: () => Promise<T>): Promise<T> {
    const known = this.#shared.get(key);
    if (known) return known as Promise<T>;
    const promise = fetch();
    this.#shared.set(key, promise);
    this.#clock.after(shareForMs, () => {
      if (this.#shared.get(key) === promise) this.#shared.delete(key);
    });
    return promise;
  }
}
