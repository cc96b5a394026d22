import { type Supervisor, SupervisorError } from "../../agent/bootstrap/supervisor-client.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import { parseJson } from "../../machinery/json.ts";
import type { Member } from "./member-client.ts";

/** The members as `/db/info` tells them: etcd's own names, empty values left out, the whole of an identifier's 64 bits. */
export function encodeDatabaseInfo(members: readonly Member[]): string {
  const items = members.map(({ id, name, peerUrls, clientUrls, isLearner }) => {
    const rest = JSON.stringify({
      ...(name ? { name } : {}),
      peerURLs: peerUrls,
      ...(clientUrls.length > 0 ? { clientURLs: clientUrls } : {}),
      ...(isLearner ? { isLearner } : {}),
    });
    return `{"ID":${id},${rest.slice(1)}`;
  });
  return `{"members":[${items.join(",")}]}`;
}

/** Reads what {@link encodeDatabaseInfo} wrote, or K3s. @throws SyntaxError */
export function decodeDatabaseInfo(text: string): Member[] {
  // JSON's numbers do not hold 64 bits.
  const { members = [] } = parseJson(text.replace(/"ID":\s*(\d+)/g, '"ID":"$1"')) as { members?: WireMember[] };
  return members.map((member) => ({
    id: BigInt(member.ID ?? 0),
    name: member.name ?? "",
    peerUrls: member.peerURLs ?? [],
    clientUrls: member.clientURLs ?? [],
    isLearner: member.isLearner ?? false,
  }));
}

interface WireMember {
  readonly ID?: string;
  readonly name?: string;
  readonly peerURLs?: readonly string[];
  readonly clientURLs?: readonly string[];
  readonly isLearner?: boolean;
}

/**
 * Asks a server who the members of its etcd are.
 * @throws ConfigurationError when it has none
 */
export async function readDatabaseInfo(supervisor: Supervisor): Promise<Member[]> {
  try {
    return decodeDatabaseInfo((await supervisor.get("/db/info")).toString("utf8"));
  } catch (error) {
    if (!(error instanceof SupervisorError) || error.code !== 404) throw error;
    throw new ConfigurationError(
      `the cluster of ${supervisor.url.origin} does not live in embedded etcd, so no server can join it with --server; ` +
        "start its first server with --cluster-init, or give every server the same --datastore-endpoint",
    );
  }
}
