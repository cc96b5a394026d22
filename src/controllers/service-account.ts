import { namespaces, serviceAccounts } from "../api/generated/core-v1.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";

const accountName = "default";

/** Gives every namespace its "default" ServiceAccount. The key is the namespace. */
export const serviceAccountController: ControllerFactory = {
  name: "service-account-controller",
  create({ client, informers }) {
    const namespaceInformer = informers.of(namespaces);
    const accounts = informers.of(serviceAccounts);
    return {
      watches: [
        watch(namespaceInformer, (namespace) => [namespace.metadata.name ?? ""]),
        watch(accounts, ({ metadata }) => (metadata.name === accountName ? [metadata.namespace ?? ""] : [])),
      ],
      async reconcile(name, signal) {
        const namespace = namespaceInformer.get(name);
        if (!namespace || namespace.metadata.deletionTimestamp || namespace.status?.phase === "Terminating")
          return undefined;
        if (accounts.get(`${name}/${accountName}`)) return undefined;
        try {
          await client.create(
            serviceAccounts,
            { metadata: { name: accountName, namespace: name } },
            { namespace: name, signal },
          );
        } catch (error) {
          if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
        }
        return undefined;
      },
    };
  },
};
