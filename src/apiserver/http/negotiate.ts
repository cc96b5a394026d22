import { notAcceptable } from "../../machinery/status.ts";

/** How a reply is to be encoded. */
export interface Encoding {
  readonly type: "json" | "yaml";
  /** The kind asked for in place of the object's own. */
  readonly as?: "Table" | "PartialObjectMetadata" | "APIGroupDiscoveryList";
  /** Version of that kind: "v1" or "v1beta1" of meta.k8s.io, "v2" or "v2beta1" of apidiscovery.k8s.io. */
  readonly asVersion?: string;
}

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

function parseAccept(accept: string): MediaRange[] {
  return accept
    .split(",")
    .map((part) => {
      const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
      const pairs = parameters.map((parameter): [string, string] => {
        const at = parameter.indexOf("=");
        return at < 0 ? [parameter, ""] : [parameter.slice(0, at), parameter.slice(at + 1)];
      });
      const map = new Map(pairs);
      return { type: type.toLowerCase(), parameters: map, quality: Number(map.get("q") ?? 1) };
    })
    .filter(({ type, quality }) => type !== "" && quality > 0)
    .sort((a, b) => b.quality - a.quality);
}

const types: Readonly<Record<string, "json" | "yaml">> = {
  "application/json": "json",
  "application/*": "json",
  "*/*": "json",
  "application/yaml": "yaml",
};

/** Which kinds can be asked for with `as`, in which group and versions. */
const transforms: Readonly<Record<string, { readonly group: string; readonly versions: readonly string[] }>> = {
  Table: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  PartialObjectMetadata: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  PartialObjectMetadataList: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  APIGroupDiscoveryList: { group: "apidiscovery.k8s.io", versions: ["v2", "v2beta1"] },
};

/** What a request may ask for. */
export type Offer = "object" | "watch" | "discovery" | "plain";

const parsedBefore = new Map<string, Encoding>();

/** Chooses the first acceptable encoding. Throws 406 when there is none: protobuf alone cannot be served. */
export function negotiate(accept: string | undefined, offer: Offer): Encoding {
  const key = `${offer} ${accept}`;
  const before = parsedBefore.get(key);
  if (before) return before;
  const encoding = choose(accept, offer);
  // Clients send the same few headers again and again.
  if (parsedBefore.size < 200) parsedBefore.set(key, encoding);
  return encoding;
}

function choose(accept: string | undefined, offer: Offer): Encoding {
  if (!accept?.trim()) return { type: "json" };
  for (const { type, parameters } of parseAccept(accept)) {
    const known = types[type];
    if (!known || (known === "yaml" && offer === "watch")) continue;
    const as = parameters.get("as");
    if (as === undefined) return { type: known };
    const group = parameters.get("g");
    const version = parameters.get("v") ?? "";
    const transform = transforms[as];
    if (!transform || transform.group !== group || !transform.versions.includes(version)) continue;
    if ((as === "APIGroupDiscoveryList") !== (offer === "discovery") || offer === "plain") continue;
    const kind = as === "PartialObjectMetadataList" ? "PartialObjectMetadata" : (as as NonNullable<Encoding["as"]>);
    return { type: known, as: kind, asVersion: version };
  }
  const accepted = offer === "watch" ? "application/json" : "application/json, application/yaml";
  throw notAcceptable(`only the following media types are accepted: ${accepted}`);
}
