import { formatTime } from "../../machinery/clock.ts";
import { parseJson } from "../../machinery/json.ts";
import { quantityOf } from "../../machinery/quantity.ts";
import { badRequest } from "../../machinery/status.ts";
import type { SnapshotFile } from "./snapshot-files.ts";
import type { SnapshotSettings, Snapshots } from "./snapshots.ts";

/** The body of K3s' `POST /db/snapshot`; what is absent is as the server is set. */
export interface SnapshotRequest {
  readonly operation: "save" | "list" | "delete" | "prune";
  /** Of the snapshots to delete; else the first one is what names begin with. */
  readonly name?: readonly string[];
  readonly dir?: string;
  readonly compress?: boolean;
  readonly retention?: number;
}

/** @throws 400 that names the field that is wrong */
export function parseSnapshotRequest(body: Buffer): SnapshotRequest {
  let value: unknown;
  try {
    value = parseJson(body);
  } catch (error) {
    throw badRequest(`the snapshot request is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badRequest("the snapshot request is no JSON object");
  const { operation, name, dir, compress, retention, s3 } = value as Record<string, unknown>;
  if (operation !== "save" && operation !== "list" && operation !== "delete" && operation !== "prune")
    throw badRequest("invalid snapshot operation");
  if (s3 !== undefined && s3 !== null) throw badRequest("snapshots in S3 are not supported by this version of k3ts");
  const check = <T>(field: string, value: unknown, isRight: (value: unknown) => boolean): T | undefined => {
    if (value === undefined || value === null) return undefined;
    if (!isRight(value)) throw badRequest(`invalid value of "${field}" in the snapshot request`);
    return value as T;
  };
  const names = check<string[]>(
    "name",
    name,
    (list) => Array.isArray(list) && list.every((one) => typeof one === "string"),
  );
  const directory = check<string>("dir", dir, (text) => typeof text === "string");
  const packed = check<boolean>("compress", compress, (flag) => typeof flag === "boolean");
  const kept = check<number>("retention", retention, (count) => Number.isInteger(count) && (count as number) >= 0);
  return {
    operation,
    ...(names?.length ? { name: names } : {}),
    ...(directory ? { dir: directory } : {}),
    ...(packed === undefined ? {} : { compress: packed }),
    ...(kept === undefined ? {} : { retention: kept }),
  };
}

/** Does what a request asks for. @returns the reply's body */
export async function answerSnapshotRequest(
  snapshots: Snapshots,
  settings: SnapshotSettings,
  nodeName: string,
  request: SnapshotRequest,
): Promise<object> {
  const asked: SnapshotSettings = {
    name: request.name?.[0] ?? settings.name,
    directory: request.dir ?? settings.directory,
    compress: request.compress ?? settings.compress,
    retention: request.retention ?? settings.retention,
  };
  switch (request.operation) {
    case "save":
      return snapshots.save(asked);
    case "delete":
      return snapshots.delete(asked, request.name ?? []);
    case "prune":
      return snapshots.prune(asked);
    case "list": {
      const items = snapshots.list(asked).map((file) => snapshotObject(file, nodeName));
      return { kind: "List", apiVersion: "v1", metadata: {}, items };
    }
  }
}

/** What a list of snapshots holds. */
export interface SnapshotObject {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: { readonly snapshotName: string; readonly nodeName: string; readonly location: string };
  /** `size` is a quantity of bytes: 512000 are "512k". */
  readonly status: { readonly readyToUse: boolean; readonly size: string; readonly creationTime: string };
}

/** A snapshot in the form of K3s' ETCDSnapshotFile. */
function snapshotObject(file: SnapshotFile, nodeName: string): SnapshotObject {
  return {
    metadata: {
      name: `local-${file.name.replace(/[^-._a-zA-Z0-9]/g, "_")}`,
      labels: { "etcd.k3s.cattle.io/snapshot-storage-node": nodeName },
    },
    spec: { snapshotName: file.name, nodeName, location: file.location },
    status: { readyToUse: true, size: String(quantityOf(file.bytes)), creationTime: formatTime(file.createdMs) },
  };
}
