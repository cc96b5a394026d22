import type { Lanes } from "./load-messages.ts";
import type { OwnServer } from "./servers.ts";

interface Mode extends Lanes {
  readonly name: string;
}

export const overHttp1: Mode = {
  name: "HTTP/1.1, 32 connections",
  protocol: "HTTP/1.1",
  connections: 32,
  streams: 1,
};
export const overHttp2: Mode = { name: "HTTP/2, 32 connections", protocol: "HTTP/2", connections: 32, streams: 1 };
export const overOneConnection: Mode = {
  name: "HTTP/2, one connection of 32 streams",
  protocol: "HTTP/2",
  connections: 1,
  streams: 32,
};
/** The ways of connecting that are measured. */
export const modes = [overHttp1, overHttp2, overOneConnection] as const;
export const warmUpSeconds = 3;
export const roundSeconds = 2;
/** How late the server's loop may be, p99. */
export const loopBudgetMs = 20;
export const megabyte = 1e6;

/** Says what goes on. */
export type Say = (line: string) => void;

/** The address of a namespace's objects. */
export function collection(resource: "configmaps" | "secrets" | "pods", namespace: string): string {
  return `/api/v1/namespaces/${namespace}/${resource}`;
}

/** The newest revision that a list in this namespace has. */
export async function newestRevision(own: OwnServer, namespace: string): Promise<string> {
  const text = await own.process.kubectl(["get", "--raw", `${collection("configmaps", namespace)}?limit=1`]);
  const { metadata } = JSON.parse(text) as { metadata: { resourceVersion: string } };
  return metadata.resourceVersion;
}
