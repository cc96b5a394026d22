import type { KubeObject } from "../machinery/object.ts";
import { eventTtlSeconds, fromCoreEvent, newEventColumns, newEventFields, toCoreEvent } from "./events.ts";
import type { Event as CoreEvent } from "./generated/core-v1.ts";
import { type Event, events } from "./generated/events-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateNewEvent, validateNewEventUpdate } from "./validation/event.ts";

export const eventsV1: readonly KindEntry[] = [
  kind(events, {
    shortNames: ["ev"],
    storage: {
      group: "",
      version: "v1",
      ttlSeconds: eventTtlSeconds,
      toStorage: (event: KubeObject) => toCoreEvent(event as Event),
      fromStorage: (event: KubeObject) => fromCoreEvent(event as CoreEvent),
    },
    columns: newEventColumns,
    selectableFields: newEventFields,
    strategy: {
      allowCreateOnUpdate: true,
      ratchets: true,
      validate: (event) => validateNewEvent(toCoreEvent(event)),
      validateUpdate: (event, old) => validateNewEventUpdate(toCoreEvent(event), toCoreEvent(old)),
    },
  }),
];
