import { notAcceptable } from "../../machinery/status.ts";
import { protobufType } from "./kubernetes-protobuf.ts";

/** How a reply is to be encoded. */
export interface Encoding {
  readonly type: "json" | "yaml" | "protobuf";
  /** The kind asked for in place of the object's own. */
  readonly as?: "Table" | "PartialObjectMetadata" | "APIGroupDiscoveryList";
  /** Version of that kind: "v1" or "v1beta1" of meta.k8s.io, "v2" of apidiscovery.k8s.io. */
  readonly asVersion?: string;
  /** Indented, for people. */
  readonly pretty?: true;
}

interface MediaRange {
  /** "application/json", or with an asterisk for either half. */
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** The ranges of an Accept header, the wanted ones first: by quality, then those that name a type. */
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
    .sort((a, b) => b.quality - a.quality || a.type.split("*").length - b.type.split("*").length);
}

/** In the order in which a wildcard is served. */
const mediaTypes = { json: "application/json", yaml: "application/yaml", protobuf: protobufType } as const;

/** Which kinds can be asked for with `as`, in which group and versions. */
const transforms: Readonly<Record<string, { readonly group: string; readonly versions: readonly string[] }>> = {
  Table: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  PartialObjectMetadata: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  PartialObjectMetadataList: { group: "meta.k8s.io", versions: ["v1", "v1beta1"] },
  APIGroupDiscoveryList: { group: "apidiscovery.k8s.io", versions: ["v2"] },
};

/**
 * What is asked for: objects of a resource (of custom ones only the metadata goes in protobuf) or their watch, discovery,
 * one object of a built-in kind as it is (a Status, a review), or a document that is no Kubernetes object.
 */
export type Offer = "object" | "custom-object" | "watch" | "custom-watch" | "discovery" | "typed" | "plain";

const parsedBefore = new Map<Offer, Map<string, Encoding>>();
const remembered = 200;

/** Chooses the first acceptable encoding. Throws 406 when there is none. */
export function negotiate(accept = "", offer: Offer): Encoding {
  const before = parsedBefore.get(offer)?.get(accept);
  if (before) return before;
  const encoding = choose(accept, offer);
  // Clients send the same few headers again and again.
  const ofOffer = parsedBefore.get(offer) ?? new Map<string, Encoding>();
  if (ofOffer.size < remembered) parsedBefore.set(offer, ofOffer.set(accept, encoding));
  return encoding;
}

function choose(accept: string | undefined, offer: Offer): Encoding {
  if (!accept?.trim()) return { type: "json" };
  const isWatch = offer === "watch" || offer === "custom-watch";
  const types = (["json", "yaml", "protobuf"] as const).filter(
    (type) => !(type === "yaml" && isWatch) && !(type === "protobuf" && offer === "plain"),
  );
  for (const range of parseAccept(accept)) {
    for (const type of types) {
      const media = mediaTypes[type];
      if (range.type !== media && range.type !== "application/*" && range.type !== "*/*") continue;
      const encoding = encodingOf(type, range.parameters, offer);
      if (encoding) return encoding;
    }
  }
  const stream = isWatch ? ";stream=watch" : "";
  throw notAcceptable(
    `only the following media types are accepted: ${types.map((type) => mediaTypes[type] + stream).join(", ")}`,
  );
}

/** The encoding that a media range with these parameters stands for; undefined when it cannot be given. */
function encodingOf(type: Encoding["type"], parameters: MediaRange["parameters"], offer: Offer): Encoding | undefined {
  const stream = parameters.get("stream") ?? "";
  if (stream !== "" && (stream !== "watch" || type === "yaml")) return undefined;
  const pretty = parameters.get("pretty") === "1" ? ({ pretty: true } as const) : {};
  const as = parameters.get("as");
  if (as === undefined && !parameters.has("g") && !parameters.has("v")) {
    if (type === "protobuf" && offer.startsWith("custom-")) return undefined;
    return { type, ...pretty };
  }
  if (offer === "plain" || offer === "typed") return undefined;
  const version = parameters.get("v") ?? "";
  const transform = as !== undefined && Object.hasOwn(transforms, as) ? transforms[as] : undefined;
  if (!transform || transform.group !== parameters.get("g") || !transform.versions.includes(version)) return undefined;
  if ((as === "APIGroupDiscoveryList") !== (offer === "discovery")) return undefined;
  // Tables have cells of any type, which protobuf cannot hold; aggregated discovery is served as JSON.
  if (type === "protobuf" && !as!.startsWith("Partial")) return undefined;
  const kind = as === "PartialObjectMetadataList" ? "PartialObjectMetadata" : (as as NonNullable<Encoding["as"]>);
  return { type, as: kind, asVersion: version, ...pretty };
}
