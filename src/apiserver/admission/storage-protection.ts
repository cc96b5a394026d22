import { persistentVolumeClaims, persistentVolumes } from "../../api/generated/core-v1.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout } from "./kinds.ts";

/** Claims and volumes are held from their first moment until the controllers see that nobody uses them. */
export const storageObjectInUseProtection: AdmissionPlugin = {
  name: "StorageObjectInUseProtection",
  async admit(attributes) {
    const finalizer = isAbout(attributes, persistentVolumeClaims, "CREATE")
      ? "kubernetes.io/pvc-protection"
      : isAbout(attributes, persistentVolumes, "CREATE")
        ? "kubernetes.io/pv-protection"
        : undefined;
    const metadata = attributes.object?.metadata;
    if (!finalizer || !metadata || metadata.finalizers?.includes(finalizer)) return;
    metadata.finalizers = [...(metadata.finalizers ?? []), finalizer];
  },
};
