/**
 * An image's full name as containerd keeps it: "busybox" is "docker.io/library/busybox:latest". Throws for a name that
 * cannot be one.
 */
export function normalizeImageName(name: string): string {
  if (
    !/^[A-Za-z0-9][A-Za-z0-9._:/@[\]-]*$/.test(name) ||
    /[A-Z]/.test(name.replace(/^[^/]*\//, "").replace(/[:@].*$/, ""))
  )
    throw new Error(`couldn't parse image name "${name}": invalid reference format`);
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  let full: string;
  if (first === "docker.io" || first === "index.docker.io") {
    const rest = name.slice(slash + 1);
    full = `docker.io/${rest.includes("/") ? rest : `library/${rest}`}`;
  } else if (first === "localhost" || /[.:]/.test(first)) {
    full = name;
  } else {
    full = `docker.io/${slash < 0 ? "library/" : ""}${name}`;
  }
  const last = full.slice(full.lastIndexOf("/"));
  return /[:@]/.test(last) ? full : `${full}:latest`;
}

/** The registry that an image comes from: "docker.io" for "busybox". */
export function registryOf(image: string): string {
  const full = normalizeImageName(image);
  return full.slice(0, full.indexOf("/"));
}

/** The default pull policy of the API: Always for the tag latest or none, else IfNotPresent. */
export function defaultPullPolicy(image: string): "Always" | "IfNotPresent" {
  const last = image.slice(image.lastIndexOf("/") + 1);
  if (last.includes("@")) return "IfNotPresent";
  return !last.includes(":") || last.endsWith(":latest") ? "Always" : "IfNotPresent";
}
