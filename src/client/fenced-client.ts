import { StatusError } from "../machinery/status.ts";
import type { Client, NamespacedOptions } from "./client.ts";
import type { Leadership } from "./leader-election.ts";

/**
 * A leader's client: nothing goes through it any more from the moment that another may lead, and what is under way then
 * is called off. Signals that its calls are given have to come from {@link Leadership.signal}, which ends with the
 * leadership. Its refusal is a 403, which nobody takes for a lost race and tries again at once.
 */
export function fencedClient(client: Client, { holds, lost }: Pick<Leadership, "holds" | "lost">): Client {
  const within = <O extends NamespacedOptions>(options: O | undefined): O & { signal: AbortSignal } => {
    if (!holds()) throw new StatusError(403, "Forbidden", "another server may lead by now: nothing is done any more");
    return { ...(options as O), signal: options?.signal ?? lost };
  };
  return {
    get: async (type, name, options) => client.get(type, name, within(options)),
    list: async (type, options) => client.list(type, within(options)),
    // Begins with the first event that is asked for.
    watch: async function* (type, options) {
      yield* client.watch(type, within(options));
    },
    create: async (type, object, options) => client.create(type, object, within(options)),
    update: async (type, object, options) => client.update(type, object, within(options)),
    patch: async (type, name, patch, options) => client.patch(type, name, patch, within(options)),
    delete: async (type, name, options) => client.delete(type, name, within(options)),
    deleteCollection: async (type, options) => client.deleteCollection(type, within(options)),
    createSubresource: async (type, name, subresource, body, options) =>
      client.createSubresource(type, name, subresource, body, within(options)),
  };
}
