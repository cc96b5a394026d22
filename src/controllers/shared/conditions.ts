import { type Clock, formatTime } from "../../machinery/clock.ts";

/** The parts that the conditions of all kinds share. */
export interface ConditionLike {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/**
 * The list with one condition set. lastTransitionTime moves only when the status changes; a condition that says the
 * same already leaves the list as it is (the same array).
 */
export function withCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  next: C,
  clock: Pick<Clock, "now">,
): readonly C[] {
  const old = conditions?.find(({ type }) => type === next.type);
  if (old && old.status === next.status && old.reason === next.reason && old.message === next.message) {
    return conditions ?? [];
  }
  const lastTransitionTime =
    old?.status === next.status && old.lastTransitionTime ? old.lastTransitionTime : formatTime(clock.now());
  return [...(conditions ?? []).filter(({ type }) => type !== next.type), { ...next, lastTransitionTime }];
}

/** The list without the condition of a type. */
export function withoutCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  type: string,
): readonly C[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}
