import { peerUrl } from "./etcd-config.ts";
import { nodeOfMember } from "./member-name.ts";

/** A member as etcd and K3s' `/db/info` tell of it. One that has never run has no name and no client URLs. */
export interface MemberFacts {
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

/** What a server that is to become a member does. */
export type JoinPlan =
  | {
      readonly kind: "join";
      /** Absent: this member was added before, and was cut off. */
      readonly add: boolean;
      /** "name=peer URL" of every member, as etcd's `initial-cluster` has them. */
      readonly cluster: readonly string[];
    }
  /** A member on another machine, or with another data directory, has this node's name. */
  | { readonly kind: "duplicate"; readonly member: string };

/**
 * Decides how this server becomes one of the members (K3s' rules).
 * @param self.name the name that its member will have
 */
export function planJoin(
  members: readonly MemberFacts[],
  self: { readonly name: string; readonly nodeName: string; readonly address: string },
): JoinPlan {
  const mine = peerUrl(self.address);
  const isSelf = ({ name, peerUrls }: MemberFacts) =>
    (name === "" || name === self.name) && peerUrls.some((url) => hostOf(url) === hostOf(mine));
  const namesake = members.find(
    (member) => !isSelf(member) && member.name !== self.name && nodeOfMember(member.name) === self.nodeName,
  );
  if (namesake) return { kind: "duplicate", member: namesake.name };
  const cluster = members.flatMap((member) =>
    member.peerUrls.slice(0, 1).map((url) => `${isSelf(member) ? self.name : member.name}=${url}`),
  );
  const present = members.some(isSelf);
  return { kind: "join", add: !present, cluster: present ? cluster : [...cluster, `${self.name}=${mine}`] };
}

/** Client URLs of the members that can be asked: voters that have run, without this server, the joined one first. */
export function clientUrlsOf(
  members: readonly MemberFacts[],
  self: { readonly address: string },
  preferredHost?: string,
): string[] {
  const own = hostOf(peerUrl(self.address));
  const urls = members
    .filter(({ isLearner, clientUrls }) => !isLearner && !clientUrls.some((url) => hostOf(url) === own))
    .flatMap(({ clientUrls }) => clientUrls);
  const isPreferred = (url: string) => hostOf(url) === preferredHost;
  return [...urls.filter(isPreferred), ...urls.filter((url) => !isPreferred(url))];
}

export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}
