/** The Kubernetes release whose behaviour k3ts follows, and k3ts' own revision of it (K3s' form of versions). */
export const version = "v1.36.4+k3ts1";
