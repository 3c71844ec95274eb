// How a program is started as a client of the lab: in the client's network namespace.

export const namespaceArguments = (namespace: string): readonly string[] => [`--net=/run/netns/${namespace}`, "--"];
