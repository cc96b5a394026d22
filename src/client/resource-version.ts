interface Versioned {
  readonly metadata: { readonly resourceVersion?: string };
}

/**
 * Whether `a` is an earlier state of an object than `b`. Where an informer tells of it after `b`, the cluster was set back to
 * a snapshot: what was written since never was.
 */
export function isOlder(a: Versioned, b: Versioned): boolean {
  return Number(a.metadata.resourceVersion ?? 0) < Number(b.metadata.resourceVersion ?? 0);
}
