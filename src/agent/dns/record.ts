/** What cluster DNS answers with; a subset of DNS, in the shapes of dns-packet. */
export type DnsRecord = { readonly name: string; readonly ttl: number } & (
  | { readonly type: "A" | "AAAA" | "CNAME" | "PTR" | "NS"; readonly data: string }
  | { readonly type: "TXT"; readonly data: readonly string[] }
  | { readonly type: "SRV"; readonly data: { priority: number; weight: number; port: number; target: string } }
  | {
      readonly type: "SOA";
      readonly data: {
        mname: string;
        rname: string;
        serial: number;
        refresh: number;
        retry: number;
        expire: number;
        minimum: number;
      };
    }
);

export type ResponseCode = "NOERROR" | "FORMERR" | "SERVFAIL" | "NXDOMAIN" | "NOTIMP" | "REFUSED";

/** The content of an answer, before it becomes bytes. */
export interface DnsAnswer {
  readonly code: ResponseCode;
  readonly authoritative: boolean;
  readonly answers: readonly DnsRecord[];
  /** The zone's SOA with negative answers. */
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

/** An answer with nothing but a code. */
export function bareAnswer(code: ResponseCode): DnsAnswer {
  return { code, authoritative: false, answers: [], authorities: [], additionals: [] };
}
