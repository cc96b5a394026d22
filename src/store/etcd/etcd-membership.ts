import type { EtcdServer } from "./etcd-connection.ts";
import type { MemberMessage } from "./etcd-messages.ts";

/** For a store on a cluster of etcd whose members come and go while it is open: what it does with their list. */
export interface EtcdMembership {
  /** Where members answer clients, the one to prefer first; empty when none of these can be asked. */
  serversOf(members: readonly MemberMessage[]): readonly EtcdServer[];
  /** Calls a listener whenever the members may be others, or one may answer again. @returns ends that */
  onChange(listener: () => void): () => void;
}
