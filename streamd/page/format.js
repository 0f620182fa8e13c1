// Numbers for people. A value that is not known is a dash.

const UNKNOWN = "–";
const known = (value) => value !== null && value !== undefined;

export function count(value) {
  if (!known(value)) return UNKNOWN;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(2);
}

export const rate = (value) => (known(value) ? `${count(value)}/s` : UNKNOWN);

export const several = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export function seconds(value) {
  if (!known(value)) return UNKNOWN;
  if (value < 0.001) return value ? "under 1 ms" : "0 s";
  if (value < 1) return `${(value * 1000).toPrecision(value < 0.01 ? 2 : 3)} ms`;
  if (value < 60) return `${Number(value.toPrecision(3))} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export const clock = (time) => new Date(time * 1000).toLocaleTimeString();
export const moment = (time) => new Date(time * 1000).toLocaleString();

// "kafka_lag_records" and its value; times are told by the end of their name.
export function gauge(name, value) {
  const time = name.endsWith("_seconds");
  const words = (time ? name.slice(0, -"_seconds".length) : name).replaceAll("_", " ");
  return `${words} ${time ? seconds(value) : count(value)}`;
}
