import { badRequest, type Status, type StatusError } from "../../machinery/status.ts";

/** How the messages of one WebSocket carry several streams, by the sub-protocol that was agreed on. */
export interface ChannelProtocol {
  /** As in the handshake; "" when the client named none. */
  readonly name: string;
  /** A client can end stdin, which WebSocket has no word for. */
  readonly canClose: boolean;
  /** A message that belongs to a channel. */
  encode(channel: number, payload: Buffer): Buffer | string;
  decode(message: Buffer, isBinary: boolean): { readonly channel: number; readonly payload: Buffer } | undefined;
  /** What the error channel says at the end, of the Status (JSON) that the command ended with; empty: nothing. */
  outcome(status: Buffer): Buffer;
}

/** The channel is the first byte. */
const binary: Pick<ChannelProtocol, "encode" | "decode"> = {
  encode: (channel, payload) => Buffer.concat([Buffer.from([channel]), payload]),
  decode: (message, isBinary) =>
    isBinary && message.length > 0 ? { channel: message[0]!, payload: message.subarray(1) } : undefined,
};

const zero = "0".charCodeAt(0);

/** The channel is the first character, counted from "0"; the rest is base64: for clients that can send text alone. */
const base64: Pick<ChannelProtocol, "encode" | "decode"> = {
  encode: (channel, payload) => `${String.fromCharCode(zero + channel)}${payload.toString("base64")}`,
  decode: (message) => {
    const channel = (message[0] ?? 0) - zero;
    return channel >= 0 ? { channel, payload: Buffer.from(message.toString("latin1", 1), "base64") } : undefined;
  },
};

const inWhole = (status: Buffer) => status;

/** Before version 4 a failure is told in words, and a success not at all. */
function inWords(bytes: Buffer): Buffer {
  const status = JSON.parse(bytes.toString()) as Partial<Status>;
  return status.status === "Success" ? Buffer.alloc(0) : Buffer.from(status.message ?? "");
}

const protocols: readonly ChannelProtocol[] = [
  { name: "v5.channel.k8s.io", canClose: true, outcome: inWhole, ...binary },
  { name: "v4.channel.k8s.io", canClose: false, outcome: inWhole, ...binary },
  { name: "v4.base64.channel.k8s.io", canClose: false, outcome: inWhole, ...base64 },
  { name: "channel.k8s.io", canClose: false, outcome: inWords, ...binary },
  { name: "base64.channel.k8s.io", canClose: false, outcome: inWords, ...base64 },
  { name: "", canClose: false, outcome: inWords, ...binary },
];

/** What port-forwards can choose from; the others know five channels with a meaning each. */
export const portChannelProtocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/** The first that the client offers and that is accepted, by default any. Throws 400 when there is none. */
export function chooseChannelProtocol(
  offered: readonly string[],
  accepted: readonly string[] = protocols.map(({ name }) => name),
): ChannelProtocol {
  for (const name of offered.length > 0 ? offered : [""]) {
    const known = accepted.includes(name) && protocols.find((protocol) => protocol.name === name);
    if (known) return known;
  }
  throw noCommonProtocol(offered, accepted);
}

export function noCommonProtocol(offered: readonly string[], accepted: readonly string[]): StatusError {
  const names = accepted.filter(Boolean).join(" ");
  return badRequest(
    `unable to negotiate a sub-protocol: client offers [${offered.join(" ")}], server accepts [${names}]`,
  );
}
