"""Random fault campaigns on the whole job: workers, a proxy that breaks the wire, a judge with no code of ours."""
