"""What Pilothouse talks about: frozen types, standard library only, so everybody may read them."""
