import { configMaps } from "../../../../src/api/generated/core-v1.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { type DatastoreFiles, parseDatastoreEndpoint } from "../../../../src/store/datastore-endpoint.ts";
import { openStore } from "../../../../src/store/open-store.ts";
import type { StoreEvent } from "../../../../src/store/store.ts";
import type { Change } from "../history.ts";

/** Every change of a namespace's ConfigMaps after a revision, read from the store at an endpoint. */
export async function changesIn(
  endpoint: string,
  files: DatastoreFiles,
  namespace: string,
  revision: number,
): Promise<readonly Change[]> {
  const store = await openStore({
    endpoint: parseDatastoreEndpoint(endpoint),
    files,
    sqlitePath: "",
    logger: silentLogger,
    clock: ioClock,
  });
  try {
    const changes: Change[] = [];
    const prefix = `/registry/${configMaps.resource}/${namespace}/`;
    for await (const page of store.history(prefix, revision))
      changes.push(...page.map((event) => toChange(prefix, event)));
    return changes;
  } finally {
    await store.close();
  }
}

function toChange(prefix: string, { type, key, revision, entry }: StoreEvent): Change {
  const data = entry ? (JSON.parse(entry.value.toString()) as { data?: { value?: string } }).data : undefined;
  return { type, key: key.slice(prefix.length), revision, value: data?.value ?? "" };
}
