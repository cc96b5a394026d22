import type { ProjectedVolumeSource, VolumeProjection } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkFilePath, checkMode } from "./paths.ts";
import { checkDownwardFile, checkKeyToPath } from "./volume.ts";

const clash = "conflicting duplicate paths";

export function checkProjected(errors: Errors, at: string, projected: ProjectedVolumeSource): void {
  checkMode(errors, `${at}.defaultMode`, projected.defaultMode);
  const paths = new Set<string>();
  /** Each file of the volume comes from one source. */
  const claim = (path: string, value: string) => {
    if (path === "") return;
    if (paths.has(path)) errors.invalid(at, value, clash);
    paths.add(path);
  };
  for (const [index, source] of (projected.sources ?? []).entries()) {
    checkSource(errors, at, `${at}.sources[${index}]`, source, claim);
  }
}

function checkSource(
  errors: Errors,
  volumeAt: string,
  at: string,
  source: VolumeProjection,
  claim: (path: string, value: string) => void,
): void {
  for (const field of ["secret", "configMap"] as const) {
    const files = source[field];
    if (!files) continue;
    errors.present(`${at}.${field}.name`, files.name);
    for (const [index, item] of (files.items ?? []).entries()) {
      checkKeyToPath(errors, `${at}.${field}.items[${index}]`, item);
      claim(item.path, files.name ?? "");
    }
  }
  for (const file of source.downwardAPI?.items ?? []) {
    checkDownwardFile(errors, `${at}.downwardAPI`, file);
    claim(file.path, file.path);
  }
  const token = source.serviceAccountToken;
  if (token) {
    const seconds = token.expirationSeconds ?? 0;
    const path = `${at}.serviceAccountToken.expirationSeconds`;
    if (seconds < 600) errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
    if (seconds > 2 ** 32) errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
    // Kubernetes names the volume here, not the source.
    if (!token.path) errors.required(`${volumeAt}.path`);
    else checkFilePath(errors, `${volumeAt}.path`, token.path);
  }
  if (Object.values(source).filter((part) => part !== undefined && part !== null).length > 1) {
    errors.forbidden(at, "may not specify more than 1 volume type per source");
  }
}
