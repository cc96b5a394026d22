import type { Client } from "../client/client.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";
import { hasReason } from "../machinery/status.ts";

/** Other servers of the cluster may write the same object at the same time; they all want the same of it. */
const attempts = 10;

/**
 * Creates an object, or lets `change` bring the present one up to date: it gets a copy, and says whether it changed it, or
 * that the object has to be made anew.
 * @throws StatusError when the store does not take it
 */
export async function ensure<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  wanted: T,
  change: (present: T) => boolean | "replace",
): Promise<void> {
  const { name = "", namespace } = wanted.metadata;
  const where = namespace ? { namespace } : {};
  for (let attempt = 1; ; attempt++) {
    try {
      await client.create(type, wanted, where);
      return;
    } catch (error) {
      if (!hasReason(error, "AlreadyExists")) throw error;
    }
    try {
      const present = structuredClone(await client.get(type, name, where));
      const changed = change(present);
      if (changed === true) await client.update(type, present, where);
      if (changed !== "replace") return;
      await client.delete(type, name, where);
    } catch (error) {
      // Changed or removed by another server meanwhile.
      if (attempt === attempts || !(hasReason(error, "Conflict") || hasReason(error, "NotFound"))) throw error;
    }
  }
}
