"""The vocabulary: kinds, objects, actions, observations, names; the CRDs generated from the spec; conditions."""
