"""How events arrive and readings leave: Kafka, Faust, HTTP and the command line."""
