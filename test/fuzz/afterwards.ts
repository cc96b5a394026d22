/** After the run: nothing that is stored may have been corrupted. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { protobufType } from "../../src/apiserver/http/kubernetes-protobuf.ts";
import { deepEqual } from "../../src/machinery/equality.ts";
import { isRecord, parseJson, stringifyJson } from "../../src/machinery/json.ts";
import type { Connection, FuzzReply } from "./connection.ts";
import type { Corpus, Target } from "./corpus.ts";
import type { FuzzRequest } from "./requests.ts";

interface Stored {
  metadata: { name: string; namespace?: string; resourceVersion: string; uid: string };
}

/** Where two objects differ, with both values. */
function differenceOf(before: unknown, after: unknown, path = ""): string[] {
  if (deepEqual(before, after)) return [];
  if (!isRecord(before) || !isRecord(after)) {
    const [was, is] = [before, after].map((side) => stringifyJson(side ?? null).slice(0, 600));
    return [`${path}: ${was} became ${is}`];
  }
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => differenceOf(before[name], after[name], `${path}.${name}`));
}

/** Reads every object in JSON and protobuf and writes it back unchanged, which must be no change. Gives complaints. */
export async function checkObjects(
  connection: Connection,
  corpus: Corpus,
): Promise<{ count: number; faults: string[] }> {
  const faults: string[] = [];
  const found = new Set<string>();
  /** Says a fault once for each resource. */
  const fault = ({ root, resource }: Target, what: string, detail: string) => {
    const key = `${root} ${resource} ${what}`;
    if (!found.has(key)) faults.push(`${what}: ${detail}`);
    found.add(key);
  };
  let count = 0;
  const send = (method: string, path: string, headers: Record<string, string> = {}, body?: Buffer) =>
    connection.send({ method, path, query: [], headers, http: "1.1", ...(body ? { body } : {}) } satisfies FuzzRequest);

  async function checkObject(target: Target, path: string, before: Stored): Promise<void> {
    const types = target.schema ? ["application/json", protobufType] : ["application/json"];
    for (const type of types) {
      // Controllers may write in between, and take away what is being deleted.
      let reply: FuzzReply | undefined;
      let was = before;
      for (let attempt = 0; attempt < 5 && (reply === undefined || reply.code === 409); attempt++) {
        const read = await send("GET", path, { accept: type });
        if (read.code === 404) return;
        if (read.code !== 200) {
          fault(target, `GET as ${type} answers ${read.code}`, `${path} ${read.body.toString().slice(0, 300)}`);
          return;
        }
        const now = type === "application/json" ? read : await send("GET", path, { accept: "application/json" });
        if (now.code === 404) return;
        was = parseJson(now.body) as Stored;
        if (!target.verbs.includes("update")) return;
        reply = await send("PUT", path, { accept: "application/json", "content-type": type }, read.body);
      }
      if (reply!.code === 404 || reply!.code === 409) continue;
      if (reply!.code !== 200) {
        fault(
          target,
          `PUT unchanged as ${type} answers ${reply!.code}`,
          `${path} ${reply!.body.toString().slice(0, 600)}`,
        );
        continue;
      }
      const after = parseJson(reply!.body) as Stored;
      if (after.metadata.uid !== before.metadata.uid) continue;
      if (after.metadata.resourceVersion !== was.metadata.resourceVersion) {
        fault(target, `PUT unchanged as ${type} is a change`, `${path} ${differenceOf(was, after).join("; ")}`);
      }
    }
  }

  for (const target of corpus.targets) {
    if (!target.verbs.includes("list")) continue;
    const list = await send("GET", `${target.root}/${target.resource}`, { accept: "application/json" });
    // Known and not built.
    if (list.code === 501) continue;
    if (list.code !== 200) {
      faults.push(`the list of ${target.root}/${target.resource} answers ${list.code}`);
      continue;
    }
    for (const object of (parseJson(list.body) as { items: Stored[] }).items) {
      const { namespace, name } = object.metadata;
      const inside = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
      if (!target.verbs.includes("get")) continue;
      count++;
      await checkObject(target, `${target.root}${inside}/${target.resource}/${encodeURIComponent(name)}`, object);
    }
  }
  return { count, faults };
}

/** What SQLite finds wrong in the file of a server that was killed. */
export function checkDatabase(directory: string): string[] {
  const database = new Database(join(directory, "data/server/db/state.db"), { fileMustExist: true });
  try {
    const rows = database.pragma("integrity_check") as { integrity_check: string }[];
    return rows.map((row) => row.integrity_check).filter((text) => text !== "ok");
  } finally {
    database.close();
  }
}
