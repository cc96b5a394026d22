import { type Service, services } from "../api/generated/core-v1.ts";
import { type IPAddress, ipAddresses, type ServiceCIDR, serviceCIDRs } from "../api/generated/networking-v1.ts";
import { parseCidr, parseIp } from "../machinery/cidr.ts";
import { formatTime } from "../machinery/clock.ts";
import { type DeepReadonly, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { mutable } from "./shared/owned.ts";

type CidrView = DeepReadonly<ServiceCIDR>;

const finalizer = "networking.k8s.io/service-cidr-finalizer";
const familyLabel = "ipaddress.kubernetes.io/ip-family";
const managedByLabel = "ipaddress.kubernetes.io/managed-by";
const addressManager = "ipallocator.k8s.io";
/** Time in which addresses that are being handed out become visible, milliseconds. */
const deletionGraceMs = 10_000;
const defaultName = "kubernetes";

/** Is all of `inner` inside of `outer`? */
function covers(outer: string, inner: string): boolean {
  const [wide, narrow] = [parseCidr(outer), parseCidr(inner)];
  return wide.family === narrow.family && wide.size >= narrow.size && wide.contains(narrow.nth(0));
}

/** Keeps the ranges of service addresses: the cluster's own stands, and none goes while its addresses are in use. */
export const serviceCidrsController: ControllerFactory = {
  name: "service-cidrs-controller",
  create({ client, clock, informers }) {
    const ranges = informers.of(serviceCIDRs);
    const addresses = informers.of(ipAddresses);
    const namesFor = (ip: string) =>
      ranges.list().filter(({ spec }) => (spec?.cidrs ?? []).some((cidr) => parseCidr(cidr).contains(ip)));
    const overlapping = (range: CidrView) =>
      ranges
        .list()
        .filter(({ spec }) =>
          (spec?.cidrs ?? []).some((one) =>
            (range.spec?.cidrs ?? []).some((other) => covers(one, other) || covers(other, one)),
          ),
        )
        .map(({ metadata }) => metadata.name ?? "");

    const canGo = (range: CidrView): boolean => {
      const others = ranges.list().filter(({ metadata }) => metadata.name !== range.metadata.name);
      const own = range.spec?.cidrs ?? [];
      if (own.every((cidr) => others.some(({ spec }) => spec?.cidrs?.some((other) => covers(other, cidr)))))
        return true;
      return !addresses.list().some(({ metadata }) => {
        if (metadata.labels?.[managedByLabel] !== addressManager) return false;
        const homes = namesFor(metadata.name ?? "");
        return homes.length === 1 && homes[0]?.metadata.name === range.metadata.name;
      });
    };
    const setReady = async (range: CidrView, status: string, reason: string, message: string, signal: AbortSignal) => {
      const old = range.status?.conditions?.find(({ type }) => type === "Ready");
      if (old?.status === status && old.reason === reason && old.message === message) return;
      const next = mutable<ServiceCIDR>(range);
      const others = (next.status?.conditions ?? []).filter(({ type }) => type !== "Ready");
      const lastTransitionTime = formatTime(clock.now());
      next.status = { conditions: [...others, { type: "Ready", status, reason, message, lastTransitionTime }] };
      await client.update(serviceCIDRs, next, { subresource: "status", signal });
    };

    return {
      watches: [
        watch(ranges, overlapping),
        watch(ranges, ({ metadata }) => [metadata.name ?? ""]),
        watch(addresses, ({ metadata }) => namesFor(metadata.name ?? "").map((range) => range.metadata.name ?? "")),
      ],
      async reconcile(key, signal) {
        const range = ranges.get(key);
        if (!range) return undefined;
        const { finalizers = [], deletionTimestamp } = range.metadata;
        const held = finalizers.includes(finalizer);
        if (!deletionTimestamp) {
          if (!held) {
            const body = { metadata: { finalizers: [finalizer] } };
            const current = await client.patch(serviceCIDRs, key, { type: "strategic", body }, { signal });
            await setReady(current, "True", "", readyText(range), signal);
          } else await setReady(range, "True", "", readyText(range), signal);
          return undefined;
        }
        if (!canGo(range)) {
          const text =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
          await setReady(range, "False", "Terminating", text, signal);
          return undefined;
        }
        const leftMs = Date.parse(deletionTimestamp) + deletionGraceMs - clock.now();
        if (leftMs > 0) return { requeueAfterMs: leftMs };
        if (!held) return undefined;
        const body = { metadata: { "$deleteFromPrimitiveList/finalizers": [finalizer] } };
        await client.patch(serviceCIDRs, key, { type: "strategic", body }, { signal });
        return undefined;
      },
    };
  },
};

function readyText({ metadata }: CidrView): string {
  return metadata.name === defaultName
    ? "Kubernetes default Service CIDR is ready"
    : "Kubernetes Service CIDR is ready";
}

const rangeKey = "range";
const servicePrefix = "service:";
const addressPrefix = "address:";

/** Shows which addresses of services are taken, and the range that the cluster was started with. */
export const serviceAddressesController: ControllerFactory = {
  name: "service-addresses-controller",
  create({ client, informers, config }) {
    const ranges = informers.of(serviceCIDRs);
    const addresses = informers.of(ipAddresses);
    const serviceInformer = informers.of(services);
    const ipsOf = ({ spec }: DeepReadonly<Service>): string[] =>
      (spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])).filter((ip) => parseIp(ip));
    serviceInformer.addIndex("clusterIp", ipsOf);

    const unless = async (code: number, work: Promise<unknown>) => {
      try {
        await work;
      } catch (error) {
        if (!(error instanceof StatusError && error.code === code)) throw error;
      }
    };
    const show = async (service: DeepReadonly<Service>, ip: string, signal: AbortSignal) => {
      if (addresses.get(ip)) return;
      const { namespace = "", name = "" } = service.metadata;
      const address: IPAddress = {
        metadata: {
          name: ip,
          labels: { [familyLabel]: parseIp(ip)?.family === 6 ? "IPv6" : "IPv4", [managedByLabel]: addressManager },
        },
        spec: { parentRef: { group: "", resource: "services", namespace, name } },
      };
      await unless(409, client.create(ipAddresses, address, { signal }));
    };

    return {
      watches: [
        { attach: (enqueue) => enqueue(rangeKey) },
        watch(ranges, ({ metadata }) => (metadata.name === defaultName ? [rangeKey] : [])),
        watch(serviceInformer, (service) => [
          servicePrefix + keyOf(service as KubeObject),
          ...ipsOf(service).map((ip) => addressPrefix + ip),
        ]),
        watch(addresses, ({ metadata }) => [addressPrefix + metadata.name]),
      ],
      async reconcile(key, signal) {
        if (key === rangeKey) {
          const cidrs = config.serviceCidrs;
          if (!cidrs || ranges.get(defaultName)) return undefined;
          await unless(
            409,
            client.create(serviceCIDRs, { metadata: { name: defaultName }, spec: { cidrs: [...cidrs] } }, { signal }),
          );
          return undefined;
        }
        if (key.startsWith(servicePrefix)) {
          const service = serviceInformer.get(key.slice(servicePrefix.length));
          if (!service) return undefined;
          for (const ip of ipsOf(service)) await show(service, ip, signal);
          return undefined;
        }
        const ip = key.slice(addressPrefix.length);
        const address = addresses.get(ip);
        const [service] = serviceInformer.byIndex("clusterIp", ip);
        if (!address) {
          // Somebody took away what a service still has.
          if (service) await show(service, ip, signal);
          return undefined;
        }
        if (service || address.metadata.labels?.[managedByLabel] !== addressManager) return undefined;
        await unless(404, client.delete(ipAddresses, ip, { signal }));
        return undefined;
      },
    };
  },
};
