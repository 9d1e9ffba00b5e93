"""Options from outside: installed plugins and a person's folder of configs."""
