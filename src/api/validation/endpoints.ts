import { deepEqual } from "../../machinery/equality.ts";
import { inRange } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { EndpointAddress, Endpoints } from "../generated/core-v1.ts";
import { protocols } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkEndpointIp, checkIp, ipWarnings } from "./ip.ts";

/** Checks new Endpoints, or changed ones: those that stay as they were may stay wrong. */
export function validateEndpoints({ subsets }: Endpoints, old?: Endpoints): FieldError[] {
  const errors = new Errors();
  if (old && deepEqual(subsets, old.subsets)) return [];
  for (const [index, subset] of (subsets ?? []).entries()) {
    const at = `subsets[${index}]`;
    const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
    if (addresses.length + notReadyAddresses.length === 0) {
      errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    }
    for (const [place, address] of addresses.entries()) checkAddress(errors, `${at}.addresses[${place}]`, address);
    for (const [place, address] of notReadyAddresses.entries()) {
      checkAddress(errors, `${at}.notReadyAddresses[${place}]`, address);
    }
    for (const [place, port] of ports.entries()) {
      const path = `${at}.ports[${place}]`;
      if (port.name) errors.label(`${path}.name`, port.name);
      else if (ports.length > 1) errors.required(`${path}.name`);
      errors.messages(`${path}.port`, port.port, inRange(port.port, 1, 65535));
      errors.oneOf(`${path}.protocol`, port.protocol, protocols);
      if (port.appProtocol !== undefined) errors.qualified(`${path}.appProtocol`, port.appProtocol);
    }
  }
  return errors.list;
}

function checkAddress(errors: Errors, at: string, address: EndpointAddress): void {
  checkIp(errors, `${at}.ip`, address.ip);
  if (address.hostname) errors.label(`${at}.hostname`, address.hostname);
  if (address.nodeName !== undefined) errors.subdomain(`${at}.nodeName`, address.nodeName);
  checkEndpointIp(errors, `${at}.ip`, address.ip);
}

export function endpointsWarnings({ subsets }: Endpoints): string[] {
  return (subsets ?? []).flatMap((subset, index) =>
    (["addresses", "notReadyAddresses"] as const).flatMap((field) =>
      (subset[field] ?? []).flatMap(({ ip }, place) => ipWarnings(`subsets[${index}].${field}[${place}].ip`, ip)),
    ),
  );
}
