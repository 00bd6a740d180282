"""The clinical risk head: data, network, training, evaluation, export. May import domain, ports, errors and schemas; torch only inside functions' modules."""
