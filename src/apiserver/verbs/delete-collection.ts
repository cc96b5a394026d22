import type { StatusError } from "../../machinery/status.ts";
import type { Call, Core } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { type DeleteParameters, deleteObject } from "./delete.ts";
import { type ListPage, type ListParameters, list } from "./list.ts";

/** Deletes under way at once. */
const width = 16;

/** Deletes everything that a list finds, and answers that list. What others remove meanwhile does not count. */
export async function deleteCollection(
  core: Core,
  call: Call,
  listParameters: ListParameters,
  parameters: DeleteParameters,
): Promise<ListPage> {
  const page = await list(core, call, listParameters);
  const left: CachedObject[] = [...page.items].reverse();
  async function work(): Promise<void> {
    for (let item = left.pop(); item; item = left.pop()) {
      const { name, namespace } = item.object.metadata;
      try {
        await deleteObject(core, { ...call, name: name!, namespace: namespace ?? call.namespace }, parameters);
      } catch (error) {
        if ((error as StatusError).reason !== "NotFound") throw error;
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, page.items.length) }, work));
  return page;
}
