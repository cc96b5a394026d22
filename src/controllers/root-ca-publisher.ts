import { type ConfigMap, configMaps, namespaces } from "../api/generated/core-v1.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { mutable } from "./shared/owned.ts";

const configMapName = "kube-root-ca.crt";
const field = "ca.crt";

/** Keeps the API server's authority in a ConfigMap of every namespace, for pods to mount. The key is the namespace. */
export const rootCaPublisher: ControllerFactory = {
  name: "root-ca-cert-publisher",
  create({ client, informers, config }) {
    const namespaceInformer = informers.of(namespaces);
    const maps = informers.of(configMaps);
    return {
      watches: [
        watch(namespaceInformer, (namespace) => [namespace.metadata.name ?? ""]),
        watch(maps, ({ metadata }) => (metadata.name === configMapName ? [metadata.namespace ?? ""] : [])),
      ],
      async reconcile(name, signal) {
        const namespace = namespaceInformer.get(name);
        if (!namespace || namespace.metadata.deletionTimestamp || namespace.status?.phase === "Terminating")
          return undefined;
        const existing = maps.get(`${name}/${configMapName}`);
        const data = { [field]: config.rootCa };
        if (!existing) {
          try {
            await client.create(
              configMaps,
              { metadata: { name: configMapName, namespace: name }, data },
              { namespace: name, signal },
            );
          } catch (error) {
            if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
          }
          return undefined;
        }
        const keys = Object.keys(existing.data ?? {});
        if (keys.length === 1 && existing.data?.[field] === config.rootCa) return undefined;
        await client.update(configMaps, { ...mutable<ConfigMap>(existing), data }, { signal });
        return undefined;
      },
    };
  },
};
