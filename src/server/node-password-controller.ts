import { nodes, secrets } from "../api/generated/core-v1.ts";
import { type ControllerFactory, watch } from "../controllers/controller.ts";
import { StatusError } from "../machinery/status.ts";
import { nodeOfPasswordSecret, nodePasswordSecretName } from "./node-passwords.ts";

/** A node asks for its certificates before there is a Node; one that never came is forgotten after this (K3s' time). */
const orphanMs = 10 * 60_000;

const namespace = "kube-system";

/**
 * Has the passwords of nodes go with their Nodes, so that another machine can come under the name of one that was deleted:
 * each Node owns the Secret of its password, and the garbage collector does the rest.
 */
export const nodePasswordController: ControllerFactory = {
  name: "node-password",
  create({ client, informers, clock }) {
    const all = informers.of(nodes);
    const kept = informers.of(secrets);
    return {
      watches: [
        watch(
          all,
          ({ metadata }) => [metadata.name ?? ""],
          (_node, old) => old === undefined,
        ),
        watch(kept, ({ metadata }) => nodeOfPasswordSecret(metadata)),
      ],
      workers: 1,
      async reconcile(node, signal) {
        const name = nodePasswordSecretName(node);
        const secret = kept.get(`${namespace}/${name}`);
        if (!secret) return undefined;
        const { uid = "", resourceVersion = "", ownerReferences = [], creationTimestamp = "" } = secret.metadata;
        const owner = all.get(node)?.metadata.uid;
        if (owner !== undefined) {
          if (ownerReferences.some((reference) => reference.uid === owner)) return undefined;
          const added = { apiVersion: "v1", kind: "Node", name: node, uid: owner };
          const body = { metadata: { uid, resourceVersion, ownerReferences: [...ownerReferences, added] } };
          await client.patch(secrets, name, { type: "merge", body }, { namespace, signal }).catch(unlessGone);
          return undefined;
        }
        const leftMs = Date.parse(creationTimestamp) + orphanMs - clock.now();
        if (leftMs > 0) return { requeueAfterMs: leftMs };
        await client.delete(secrets, name, { namespace, preconditions: { uid }, signal }).catch(unlessGone);
        return undefined;
      },
    };
  },
};

/** What became another one meanwhile, or went, makes its key due again. */
function unlessGone(error: unknown): void {
  if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
}
